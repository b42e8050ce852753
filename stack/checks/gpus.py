"""The NVIDIA GPUs of this machine, as its driver reports them.

Reads NVML through nvidia-ml-py, never `nvidia-smi`'s text. Nothing is changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Compute capability 7.5 is the oldest in the arch list of vLLM's CUDA images
# (.buildkite/release-pipeline.yaml: "7.5 8.0 8.6 8.9 9.0 10.0 12.0").
MIN_CAPABILITY = (7, 5)
# CUDA 13 images need the R580 driver; GeForce boards have no forward compatibility
# (docs/getting_started/installation/gpu.cuda.inc.md).
MIN_DRIVER_MAJOR = 580


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
    """

    gpus: tuple[Gpu, ...] = ()
    driver: str | None = None
    reason: str = ""
    has_device: bool = True


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
        if has_nvidia_device(pci):
            return GpuReport(reason=f"an NVIDIA GPU is here, but its driver does not answer ({err})")
        return GpuReport(reason="no NVIDIA GPU on this machine", has_device=False)
    try:
        driver = _text(nvml.nvmlSystemGetDriverVersion())
        gpus = tuple(_read_gpu(nvml, index) for index in range(nvml.nvmlDeviceGetCount()))
    except nvml.NVMLError as err:
        return GpuReport(reason=f"the NVIDIA driver cannot describe its GPUs ({err})")
    finally:
        nvml.nvmlShutdown()
    return GpuReport(gpus, driver, "" if gpus else "the NVIDIA driver reports no GPU")


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


def find_unfit_reason(report: GpuReport) -> str | None:
    """Give the reason why vLLM's CUDA images cannot run on these GPUs, or None when they can."""
    if not report.gpus:
        return report.reason
    major = int((report.driver or "0").split(".")[0])
    if major < MIN_DRIVER_MAJOR:
        return f"driver {report.driver} is too old for CUDA 13: {MIN_DRIVER_MAJOR} or newer is needed"
    if not any(is_fit(gpu) for gpu in report.gpus):
        return describe_unfit(report.gpus[0])
    return None


def is_fit(gpu: Gpu) -> bool:
    """Tell whether vLLM's CUDA images have kernels for a GPU."""
    return gpu.capability >= MIN_CAPABILITY


def describe_unfit(gpu: Gpu) -> str:
    """Say why a GPU is not fit."""
    major, minor = gpu.capability
    return f"{gpu.name} has compute capability {major}.{minor}; 7.5 or newer is needed"


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
