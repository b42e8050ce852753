"""Rules on the machine under the engine: the host's CPU and the GPUs' clocks."""

from __future__ import annotations

from stack.telemetry.diagnosis.limit import Limit
from stack.telemetry.diagnosis.surroundings import GpuUse
from stack.telemetry.diagnosis.window import Window
from stack.telemetry.diagnosis.work_rules import is_busy

# The API server's Python runs on one core at a time: from here on it is the one that everybody waits for.
_ONE_CORE = 0.9
_ALL_CORES = 0.9
# What others must take of the cores before they are named.
_OTHERS_SHARE = 0.25
# A GPU that computes for less of the time does not wait for its clocks.
_GPU_IS_BUSY = 0.5
# Every GPU lowers its clocks a little at its power limit: below this share it is worth naming.
_LOW_CLOCKS = 0.8
_SOME_LOOKS = 3

_MORE_SERVERS = "raise `api-server-count` (vLLM then exports no process metrics)"


def check_gpu_clocks(window: Window) -> Limit | None:
    """A busy GPU runs below its clocks for all of the time."""
    slow = [gpu for gpu in window.around.gpus if _is_slowed(gpu)]
    if not slow or not window.has_moved or not is_busy(window):
        return None
    evidence = tuple(
        f"GPU {gpu.index}: {gpu.clock_share:.0%} of its highest clock, busy {gpu.utilization or 0:.0%} of the time; "
        f"held down by {' and '.join(gpu.slowdowns)} at all of {gpu.looks} looks"
        for gpu in slow
    )
    change = (
        "heat: air, fans, dust; power: the limit (`nvidia-smi -q -d POWER`), the supply and its cables",
        "clocks that somebody fixed: `nvidia-smi --reset-gpu-clocks`",
    )
    return Limit("gpu-clocks", "the GPU runs below its clocks", "high", evidence, change)


def _is_slowed(gpu: GpuUse) -> bool:
    if not gpu.slowdowns or gpu.clock_share is None or gpu.looks < _SOME_LOOKS:
        return False
    is_idle = gpu.utilization is not None and gpu.utilization < _GPU_IS_BUSY
    return gpu.clock_share < _LOW_CLOCKS and not is_idle


def check_host_cpu(window: Window) -> Limit | None:
    """The host's CPU holds the engine up: its API server, its own cores, or other programs."""
    if not window.has_moved:
        return None
    return _check_server(window) or (_check_cores(window) if is_busy(window) else None)


def _check_server(window: Window) -> Limit | None:
    cores = window.server_cores
    # Tokenizers have threads of their own in that process: more than one core may be theirs, so never `high`.
    if cores is None or cores < _ONE_CORE:
        return None
    evidence = (
        f"the API server's process kept {cores:.2f} cores busy on average; its Python uses one at a time",
        f"{window.generated / window.seconds:.0f} tokens/s, {window.present:.1f} requests at once on average",
    )
    return Limit(
        "host-cpu", "the API server's process", "medium", evidence, (_MORE_SERVERS, "a host CPU with faster cores")
    )


def _check_cores(window: Window) -> Limit | None:
    around = window.around
    if around.engine_cores is None or around.cores is None or around.cores <= 0:
        return None
    other = around.other_cores or 0.0
    figures = (
        f"the engine kept {around.engine_cores:.1f} of {around.cores:.1f} cores busy, everything else {other:.1f}",
    )
    if around.engine_cores + other >= _ALL_CORES * around.cores and other >= _OTHERS_SHARE * around.cores:
        change = ("end or move what else runs here (`top`)",)
        return Limit("host-cpu", "other programs take the host's CPU", "high", figures, change)
    # A CPU engine is meant to use all of them: what they are used for, prefill or decode, is the answer then.
    if around.device == "cuda" and around.engine_cores >= _ALL_CORES * around.cores:
        return Limit(
            "host-cpu", "the engine's processes use all cores", "medium", figures, ("more cores for the engine",)
        )
    return None
