"""The state of NVIDIA GPUs beyond their size: modes, memory errors, and who uses them.

Reads NVML through nvidia-ml-py and changes nothing. What a board does not support (GeForce has neither ECC nor
MIG) or a driver does not tell (WSL lists no processes) is None, not a guess.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

ComputeMode = Literal["default", "exclusive-thread", "prohibited", "exclusive-process"]

Answer = TypeVar("Answer")

# nvml.h, nvmlComputeMode_t.
_COMPUTE_MODES: tuple[ComputeMode, ...] = ("default", "exclusive-thread", "prohibited", "exclusive-process")
# nvml.h: NVML_MEMORY_ERROR_TYPE_UNCORRECTED and NVML_VOLATILE_ECC.
_UNCORRECTED, _SINCE_BOOT = 1, 0


@dataclass(frozen=True)
class GpuProcess:
    """A process on a GPU.

    Attributes:
        pid: Its process id, as the driver's own namespace counts.
        used_bytes: GPU memory that it holds; None where the driver does not tell.
        kind: What it uses the GPU for.
    """

    pid: int
    used_bytes: int | None
    kind: Literal["compute", "graphics"]


@dataclass(frozen=True)
class GpuState:
    """The state of one GPU; None where it is not supported or not told.

    Attributes:
        index: NVML's index.
        is_mig: Whether it is cut into MIG instances.
        is_mig_pending: Whether MIG will be switched at the next reset.
        compute_mode: Who may compute on it.
        is_persistent: Whether the driver stays loaded while nothing uses it.
        is_ecc: Whether it corrects memory errors.
        is_ecc_pending: Whether ECC will be switched at the next reset.
        uncorrected_errors: Memory errors since boot that could not be corrected.
        is_repair_pending: Whether memory rows wait for a reset to be replaced.
        is_repair_failed: Whether replacing memory rows failed.
        processes: Who uses it.
    """

    index: int
    is_mig: bool | None = None
    is_mig_pending: bool = False
    compute_mode: ComputeMode | None = None
    is_persistent: bool | None = None
    is_ecc: bool | None = None
    is_ecc_pending: bool = False
    uncorrected_errors: int | None = None
    is_repair_pending: bool = False
    is_repair_failed: bool = False
    processes: tuple[GpuProcess, ...] | None = None


def read_gpu_states(nvml: Any = None) -> tuple[GpuState, ...]:
    """Ask the driver for the state of its GPUs; those that do not answer are left out.

    Args:
        nvml: The `pynvml` module, or a recorded stand-in; None imports it.
    """
    return read_each(nvml, _read_state)


def read_each(nvml: Any, read: Callable[[Any, int], Answer | None]) -> tuple[Answer, ...]:
    """Give what is read of each GPU; empty where there is no driver, or it does not answer.

    Args:
        nvml: The `pynvml` module, or a recorded stand-in; None imports it.
        read: Gives what is wanted of the GPU with NVML's index, or None to leave it out.
    """
    if nvml is None:
        import pynvml as nvml
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return ()
    try:
        found = [read(nvml, index) for index in range(nvml.nvmlDeviceGetCount())]
    except nvml.NVMLError:
        return ()
    finally:
        nvml.nvmlShutdown()
    return tuple(one for one in found if one is not None)


def _read_state(nvml: Any, index: int) -> GpuState | None:
    handle = ask(nvml, lambda: nvml.nvmlDeviceGetHandleByIndex(index))
    if handle is None:
        return None
    mig = ask(nvml, lambda: nvml.nvmlDeviceGetMigMode(handle))
    ecc = ask(nvml, lambda: nvml.nvmlDeviceGetEccMode(handle))
    mode = ask(nvml, lambda: nvml.nvmlDeviceGetComputeMode(handle))
    persistence = ask(nvml, lambda: nvml.nvmlDeviceGetPersistenceMode(handle))
    # Correctable, uncorrectable, pending, failed.
    rows = ask(nvml, lambda: nvml.nvmlDeviceGetRemappedRows(handle))
    return GpuState(
        index=index,
        is_mig=bool(mig[0]) if mig else None,
        is_mig_pending=bool(mig and mig[0] != mig[1]),
        compute_mode=_COMPUTE_MODES[mode] if mode is not None and mode < len(_COMPUTE_MODES) else None,
        is_persistent=bool(persistence) if persistence is not None else None,
        is_ecc=bool(ecc[0]) if ecc else None,
        is_ecc_pending=bool(ecc and ecc[0] != ecc[1]),
        uncorrected_errors=ask(nvml, lambda: nvml.nvmlDeviceGetTotalEccErrors(handle, _UNCORRECTED, _SINCE_BOOT)),
        is_repair_pending=bool(rows and rows[2]),
        is_repair_failed=bool(rows and rows[3]),
        processes=_read_processes(nvml, handle),
    )


def _read_processes(nvml: Any, handle: Any) -> tuple[GpuProcess, ...] | None:
    compute = ask(nvml, lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle))
    graphics = ask(nvml, lambda: nvml.nvmlDeviceGetGraphicsRunningProcesses(handle))
    if compute is None and graphics is None:
        return None
    found: dict[int, GpuProcess] = {}
    kinds: tuple[tuple[Literal["graphics", "compute"], Any], ...] = (("graphics", graphics), ("compute", compute))
    for kind, rows in kinds:
        for row in rows or ():
            used = int(row.usedGpuMemory) if row.usedGpuMemory is not None else None
            found[int(row.pid)] = GpuProcess(int(row.pid), used, kind)
    return tuple(sorted(found.values(), key=lambda process: (-(process.used_bytes or 0), process.pid)))


def ask(nvml: Any, question: Callable[[], Answer]) -> Answer | None:
    """Give NVML's answer, or None where a board or driver has none."""
    try:
        return question()
    except nvml.NVMLError:
        return None
