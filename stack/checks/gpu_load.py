"""How busy NVIDIA GPUs are at one moment: work, memory, power, temperature.

Reads NVML through nvidia-ml-py and changes nothing; what a board does not tell is None.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stack.checks.gpu_clocks import GpuClocks, read_gpu_clocks
from stack.checks.gpu_state import ask, read_each

_TEMPERATURE_GPU = 0  # nvml.h, NVML_TEMPERATURE_GPU


@dataclass(frozen=True)
class GpuLoad:
    """One GPU at one moment.

    Attributes:
        index: NVML's index.
        uuid: Its identity across reboots.
        name: The board's name.
        utilization: The share of the driver's last sample period in which it computed, 0 to 1.
        used_bytes: Memory in use.
        total_bytes: Memory in all.
        power_watts: What it draws.
        power_limit_watts: What it may draw.
        temperature_celsius: The chip's temperature.
        slowdowns: What holds its clocks down, in words.
    """

    index: int
    uuid: str
    name: str
    utilization: float | None = None
    used_bytes: int | None = None
    total_bytes: int | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    temperature_celsius: int | None = None
    slowdowns: tuple[str, ...] = ()


def read_gpu_loads(nvml: Any = None) -> tuple[GpuLoad, ...]:
    """Ask the driver how busy its GPUs are; empty where there is none, or it does not answer.

    Args:
        nvml: The `pynvml` module, or a recorded stand-in; None imports it.
    """
    clocks = {one.index: one for one in read_gpu_clocks(nvml)}
    return read_each(nvml, lambda module, index: _read(module, clocks[index]) if index in clocks else None)


def _read(nvml: Any, clocks: GpuClocks) -> GpuLoad | None:
    handle = ask(nvml, lambda: nvml.nvmlDeviceGetHandleByIndex(clocks.index))
    if handle is None:
        return None
    name = ask(nvml, lambda: nvml.nvmlDeviceGetName(handle)) or ""
    memory = ask(nvml, lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
    power = ask(nvml, lambda: nvml.nvmlDeviceGetPowerUsage(handle))
    limit = ask(nvml, lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle))
    return GpuLoad(
        index=clocks.index,
        uuid=clocks.uuid,
        name=name.decode() if isinstance(name, bytes) else name,
        utilization=clocks.utilization,
        used_bytes=int(memory.used) if memory is not None else None,
        total_bytes=int(memory.total) if memory is not None else None,
        # NVML tells milliwatts.
        power_watts=power / 1000 if power is not None else None,
        power_limit_watts=limit / 1000 if limit is not None else None,
        temperature_celsius=ask(nvml, lambda: nvml.nvmlDeviceGetTemperature(handle, _TEMPERATURE_GPU)),
        slowdowns=clocks.slowdowns,
    )
