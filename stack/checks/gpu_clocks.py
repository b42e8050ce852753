"""How fast NVIDIA GPUs run at one moment, and what holds them down.

Reads NVML through nvidia-ml-py and changes nothing; what a board does not tell is None.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from stack.checks.gpu_state import ask, read_each

# nvml.h, nvmlClocksEventReason*. Idle clocks (0x1) and clocks that applications asked for (0x2) are no fault, nor is
# sync boost (0x10) or a display's clock (0x100).
_SLOWDOWNS = MappingProxyType(
    {
        0x4: "the power limit",
        0x8: "the hardware's slowdown",
        0x20: "its temperature (software)",
        0x40: "its temperature (hardware)",
        0x80: "the power supply's brake",
    }
)
_SM_CLOCK = 1  # nvml.h, NVML_CLOCK_SM


@dataclass(frozen=True)
class GpuClocks:
    """One GPU at one moment.

    Attributes:
        index: NVML's index.
        uuid: Its identity across reboots.
        clock_share: The clock of its multiprocessors as a share of the highest; None where it does not tell.
        utilization: The share of the driver's last sample period in which it computed, 0 to 1, or None.
        slowdowns: What holds its clocks down, in words.
    """

    index: int
    uuid: str
    clock_share: float | None = None
    utilization: float | None = None
    slowdowns: tuple[str, ...] = ()


def read_gpu_clocks(nvml: Any = None) -> tuple[GpuClocks, ...]:
    """Ask the driver how fast its GPUs run; empty where there is none, or it does not answer.

    Args:
        nvml: The `pynvml` module, or a recorded stand-in; None imports it.
    """
    return read_each(nvml, _read)


def _read(nvml: Any, index: int) -> GpuClocks | None:
    handle = ask(nvml, lambda: nvml.nvmlDeviceGetHandleByIndex(index))
    uuid = None if handle is None else ask(nvml, lambda: nvml.nvmlDeviceGetUUID(handle))
    if uuid is None:
        return None
    clock = ask(nvml, lambda: nvml.nvmlDeviceGetClockInfo(handle, _SM_CLOCK))
    highest = ask(nvml, lambda: nvml.nvmlDeviceGetMaxClockInfo(handle, _SM_CLOCK))
    rates = ask(nvml, lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
    # The name that drivers before 535 know, too.
    reasons = ask(nvml, lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)) or 0
    return GpuClocks(
        index,
        uuid.decode() if isinstance(uuid, bytes) else str(uuid),
        clock / highest if clock is not None and highest else None,
        rates.gpu / 100 if rates is not None else None,
        tuple(words for bit, words in _SLOWDOWNS.items() if reasons & bit),
    )
