"""The NVIDIA GPUs of this machine, as its driver reports them.

Reads NVML through nvidia-ml-py, never `nvidia-smi`'s text. Nothing is changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack.checks.cuda_support import (
    CudaImage,
    DriverVerdict,
    describe_kernels,
    describe_version,
    has_kernels,
    judge_driver,
)

# NVML's codes (nvml.h). The library that does not match the kernel module, and a GPU that fell off the bus, are seen
# only where a GPU is, also where the PCI bus cannot be looked at.
ERROR_NO_PERMISSION = 4
ERROR_DRIVER_NOT_LOADED = 9
ERROR_LIBRARY_NOT_FOUND = 12
ERROR_GPU_IS_LOST = 15
ERROR_RESET_REQUIRED = 16
ERROR_VERSION_MISMATCH = 18
_ERRORS_BESIDE_A_GPU = frozenset({ERROR_GPU_IS_LOST, ERROR_RESET_REQUIRED, ERROR_VERSION_MISMATCH})


@dataclass(frozen=True)
class Gpu:
    """One GPU.

    Attributes:
        index: NVML's index.
        uuid: Its identity across reboots.
        name: The board's name.
        total_bytes: Memory in all.
        free_bytes: Memory free now; a desktop takes its share.
        capability: Compute capability.
    """

    index: int
    uuid: str
    name: str
    total_bytes: int
    free_bytes: int
    capability: tuple[int, int]


@dataclass(frozen=True)
class GpuReport:
    """What NVML said.

    Attributes:
        gpus: The GPUs, empty where there are none or they cannot be asked.
        driver: The driver's version, or None.
        reason: Why `gpus` is empty, for a person.
        has_device: Whether a GPU is on this machine at all, so that a driver would help.
        error: NVML's code for what keeps it from answering, or None.
        unreadable: GPUs that it lists and cannot describe: index and NVML's words.
    """

    gpus: tuple[Gpu, ...] = ()
    driver: str | None = None
    reason: str = ""
    has_device: bool = True
    error: int | None = None
    unreadable: tuple[tuple[int, str], ...] = ()


def read_gpus(nvml: Any = None, pci: Path = Path("/sys/bus/pci/devices")) -> GpuReport:
    """Ask the driver for its GPUs.

    Args:
        nvml: The `pynvml` module, or a recorded stand-in; None imports it.
        pci: The kernel's list of PCI devices, to tell a machine without a GPU from one without a driver.
    """
    if nvml is None:
        import pynvml as nvml
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as err:
        code = getattr(err, "value", None)
        if has_nvidia_device(pci) or code in _ERRORS_BESIDE_A_GPU:
            return GpuReport(reason=f"an NVIDIA GPU is here, but its driver does not answer ({err})", error=code)
        return GpuReport(reason="no NVIDIA GPU on this machine", has_device=False, error=code)
    try:
        return _read_all(nvml)
    except nvml.NVMLError as err:
        return GpuReport(reason=_describe_silence(err), error=getattr(err, "value", None))
    finally:
        nvml.nvmlShutdown()


def has_nvidia_device(pci: Path) -> bool:
    """Tell whether a display controller of NVIDIA's (vendor 0x10de, class 0x03) is on the PCI bus."""
    for device in pci.glob("*"):
        try:
            vendor, kind = (device / "vendor").read_text().strip(), (device / "class").read_text().strip()
        except OSError:
            continue
        if vendor == "0x10de" and kind.startswith("0x03"):
            return True
    return False


def find_unfit_reason(
    report: GpuReport, image: CudaImage, environ: Mapping[str, str], *, is_asked: bool = False
) -> str | None:
    """Give the reason why an engine image cannot run on these GPUs, or None when it can.

    Args:
        report: What the driver says.
        image: What the image was built for.
        environ: The engine's environment.
        is_asked: Whether a GPU was asked for: what may work is then tried.
    """
    if not report.gpus:
        return report.reason
    verdict = judge_report(report, image, environ)
    if verdict.runs == "no" or (verdict.runs == "perhaps" and not is_asked):
        return verdict.message
    if not any(is_fit(gpu, image) for gpu in report.gpus):
        return describe_unfit(report.gpus[0], image)
    return None


def judge_report(report: GpuReport, image: CudaImage, environ: Mapping[str, str]) -> DriverVerdict:
    """Hold the driver against an image, for the boards that it has kernels for."""
    boards = [gpu.name for gpu in report.gpus if is_fit(gpu, image)]
    return judge_driver(image, report.driver, boards or [gpu.name for gpu in report.gpus], environ)


def is_fit(gpu: Gpu, image: CudaImage) -> bool:
    """Tell whether an image has kernels for a GPU."""
    return has_kernels(image, gpu.capability)


def describe_unfit(gpu: Gpu, image: CudaImage) -> str:
    """Say why a GPU is not fit."""
    have = f"the image has {describe_kernels(image)} ({image.source})"
    return f"{gpu.name} has compute capability {describe_version(gpu.capability)}; {have}"


def _read_all(nvml: Any) -> GpuReport:
    driver = _text(nvml.nvmlSystemGetDriverVersion())
    gpus, unreadable, error = [], [], None
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            gpus.append(_read_gpu(nvml, index))
        except nvml.NVMLError as err:
            # One that fell off the bus must not hide the others.
            unreadable.append((index, str(err)))
            error = error or err
    reason = "" if gpus else "the NVIDIA driver reports no GPU"
    if error is not None and not gpus:
        reason = _describe_silence(error)
    return GpuReport(tuple(gpus), driver, reason, error=getattr(error, "value", None), unreadable=tuple(unreadable))


def _describe_silence(err: Exception) -> str:
    return f"the NVIDIA driver cannot describe its GPUs ({err})"


def _read_gpu(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    return Gpu(
        index=index,
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
        name=_text(nvml.nvmlDeviceGetName(handle)),
        total_bytes=int(memory.total),
        free_bytes=int(memory.free),
        capability=(int(major), int(minor)),
    )


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
