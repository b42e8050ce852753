"""The NVIDIA driver: whether it answers, and whether it runs the CUDA that the engine's image was built with."""

from __future__ import annotations

import re

from stack.checks.cuda_support import DEFAULT_IMAGE, describe_version, judge_driver
from stack.checks.gpus import (
    ERROR_DRIVER_NOT_LOADED,
    ERROR_GPU_IS_LOST,
    ERROR_LIBRARY_NOT_FOUND,
    ERROR_NO_PERMISSION,
    ERROR_RESET_REQUIRED,
    ERROR_VERSION_MISMATCH,
    GpuReport,
)
from stack.checks.host.check import HostCheck, HostContext, Outcome

# The kernel module's own version; there while it is loaded, whatever the libraries are.
_MODULE = "driver/nvidia/version"
_MODULE_VERSION = re.compile(r"(?:Kernel Module|Module for \S+)\s+(\d+(?:\.\d+)+)")
_RELOAD = (
    "reboot; or end what uses the GPU, then `sudo rmmod nvidia_uvm nvidia_drm nvidia_modeset nvidia`, `nvidia-smi`"
)
# NVML's code to what it means and what mends it.
_SILENT = {
    ERROR_VERSION_MISMATCH: (
        "the driver's library does not match the kernel module that runs",
        _RELOAD,
        "the driver was upgraded and the old one is still loaded: nothing can use the GPU until it is gone",
    ),
    ERROR_DRIVER_NOT_LOADED: (
        "the driver is installed, but its kernel module is not loaded",
        "`sudo modprobe nvidia`; when that fails, `sudo dmesg | grep -i nvrm` tells why (Secure Boot, nouveau, a "
        "kernel without the module)",
        "nothing can use the GPU",
    ),
    ERROR_NO_PERMISSION: (
        "this user may not ask the driver",
        "see who may read and write `/dev/nvidia*`",
        "what the GPU is and has free is not known",
    ),
    ERROR_GPU_IS_LOST: (
        "the GPU fell off the bus",
        "`sudo dmesg | grep -i xid` tells why; then reboot",
        "it answers nothing until the machine is started again",
    ),
    ERROR_RESET_REQUIRED: (
        "the GPU must be reset",
        "end what uses it, then `sudo nvidia-smi --gpu-reset`, or reboot",
        "it runs nothing until then",
    ),
}


def run(context: HostContext) -> Outcome:
    """Judge the driver."""
    report = context.read_gpus()
    module = read_module_version(context)
    data = {"driver": report.driver, "kernel_module": module, "nvml_error": report.error}
    if not report.gpus:
        return _judge_silence(context, report, module, data)
    return _judge_version(context, report, data)


def read_module_version(context: HostContext) -> str | None:
    """Give the version of the kernel module that is loaded, or None."""
    try:
        text = (context.world.proc / _MODULE).read_text(errors="replace")
    except OSError:
        return None
    found = _MODULE_VERSION.search(text)
    return found[1] if found else None


def _judge_silence(context: HostContext, report: GpuReport, module: str | None, data: dict) -> Outcome:
    asked = context.target.engine.device_asked
    if not report.has_device and module is None:
        if asked == "cuda":
            return Outcome(
                "fail",
                "no NVIDIA GPU on this machine",
                '`stack up --device cpu`, or `engine.device = "auto"`',
                data,
                '`engine.device = "cuda"` is obeyed or refused',
            )
        return Outcome("skip", "no NVIDIA GPU on this machine", data=data)
    status = "skip" if asked == "cpu" else "fail" if asked == "cuda" else "warn"
    message, hint, why = _explain_silence(report, module)
    return Outcome(status, message, hint, data, why if asked == "cuda" else f"{why}; the engine runs on the CPU")


def _explain_silence(report: GpuReport, module: str | None) -> tuple[str, str, str]:
    if report.error == ERROR_LIBRARY_NOT_FOUND and module is not None:
        return (
            f"the kernel module of driver {module} is loaded, but its library `libnvidia-ml.so.1` is missing",
            f"install the libraries of driver {module} (Debian: `sudo apt-get install libnvidia-ml1 nvidia-smi`)",
            "the container toolkit takes the driver's libraries from the host, so no container gets the GPU",
        )
    if report.error == ERROR_LIBRARY_NOT_FOUND:
        return (
            "an NVIDIA GPU is here, without NVIDIA's driver",
            f"install the driver, {DEFAULT_IMAGE.needed} or newer (Debian: `nvidia-driver`; Ubuntu: "
            "`sudo ubuntu-drivers install`)",
            "no container gets a GPU without it",
        )
    message, hint, why = _SILENT.get(
        report.error or 0,
        (report.reason, "`nvidia-smi` must list the GPU before anything else can", "no container gets the GPU"),
    )
    if report.error == ERROR_VERSION_MISMATCH and module is not None:
        message += f" ({module})"
    return message, hint, why


def _judge_version(context: HostContext, report: GpuReport, data: dict) -> Outcome:
    engine, image = context.target.engine, context.target.engine.image
    names = [gpu.name for gpu in report.gpus if not engine.gpu_indexes or gpu.index in engine.gpu_indexes]
    verdict = judge_driver(image, report.driver, names, engine.environ)
    data |= {
        "cuda": describe_version(image.cuda) if image.cuda else None,
        "needed": verdict.needed,
        "image_facts_from": image.source,
    }
    if verdict.runs in ("yes", "unknown"):
        return Outcome("pass", verdict.message, data=data)
    if engine.device_asked == "cpu":
        return Outcome("skip", verdict.message, data=data)
    hint = "; or ".join([f"install NVIDIA's driver {verdict.needed} or newer", *verdict.remedies])
    why = "the container does not start, or finds no GPU"
    if verdict.runs == "perhaps":
        why = f"without forward compatibility {why}"
    failing = engine.device_asked == "cuda" and verdict.runs == "no"
    return Outcome("fail" if failing else "warn", verdict.message, hint, data, why)


CHECK = HostCheck("gpu-driver", run, order=100, is_quick=True)
