"""Engine args that the tool sets where the user set none, each with its reason. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stack.checks.gpus import Gpu

QUIET_ENDPOINTS = "/health,/metrics,/ping,/version"
"""Routes that are probed all the time."""

_GIB = 1024**3
# Left free on a GPU that also draws a desktop: compositors and browsers grow while the engine runs.
_DESKTOP_MARGIN_BYTES = 512 * 1024**2
# vLLM 0.32's own default (config/cache.py); more would leave nothing for graphs and fragmentation.
_MAX_UTILIZATION = 0.92


@dataclass(frozen=True)
class EngineDefault:
    """One engine arg that the tool chose.

    Attributes:
        name: The flag without its dashes.
        value: Its value.
        reason: Why, for the plan and `status`.
    """

    name: str
    value: Any
    reason: str


def choose_engine_defaults(
    device: str,
    asked: Mapping[str, Any],
    *,
    gpus: Sequence[Gpu] = (),
    heads: int | None = None,
    memory_bytes: int = 0,
) -> list[EngineDefault]:
    """Choose what the user left open.

    Args:
        device: `cpu` or `cuda`.
        asked: `[engine.args]`; a key in it is never touched.
        gpus: The GPUs that the engine gets.
        heads: The model's attention heads, where known; tensor parallel size must divide them.
        memory_bytes: This machine's memory, for a CPU engine.
    """
    chosen = _choose_for_cpu(asked, memory_bytes) if device == "cpu" else _choose_for_gpus(asked, gpus, heads)
    if "max-model-len" not in asked:
        chosen.append(EngineDefault("max-model-len", "auto", "the longest context that fits the KV cache"))
    chosen.append(
        EngineDefault(
            "disable-access-log-for-endpoints",
            QUIET_ENDPOINTS,
            "probes would bury the log's own lines",
        )
    )
    return [default for default in chosen if default.name not in asked]


def _choose_for_cpu(asked: Mapping[str, Any], memory_bytes: int) -> list[EngineDefault]:
    chosen = []
    if not {"enforce-eager", "no-enforce-eager", "optimization-level", "compilation-config"} & set(asked):
        reason = "a CPU boot compiles for a minute or more every time: its compile cache does not reload"
        chosen.append(EngineDefault("enforce-eager", True, reason))
    if not {"kv-cache-memory-bytes", "kv-cache-memory", "gpu-memory-utilization"} & set(asked):
        size = max(1, min(4, memory_bytes // 10 // _GIB))
        reason = f"a tenth of {memory_bytes / _GIB:.0f} GiB; without a size vLLM takes 92 % of all memory"
        chosen.append(EngineDefault("kv-cache-memory-bytes", f"{size}G", reason))
    return chosen


def _choose_for_gpus(asked: Mapping[str, Any], gpus: Sequence[Gpu], heads: int | None) -> list[EngineDefault]:
    chosen = []
    if gpus and not {"gpu-memory-utilization", "device-memory-utilization", "kv-cache-memory-bytes"} & set(asked):
        chosen.append(_choose_utilization(gpus))
    if "tensor-parallel-size" not in asked and len(gpus) > 1 and find_parallel_problem(gpus, heads) is None:
        reason = f"{len(gpus)} GPUs of one kind, and their number divides the model's {heads} attention heads"
        chosen.append(EngineDefault("tensor-parallel-size", len(gpus), reason))
    return chosen


def _choose_utilization(gpus: Sequence[Gpu]) -> EngineDefault:
    tightest = min(gpus, key=lambda gpu: (gpu.free_bytes - _DESKTOP_MARGIN_BYTES) / gpu.total_bytes)
    ratio = (tightest.free_bytes - _DESKTOP_MARGIN_BYTES) / tightest.total_bytes
    value = max(0.05, min(_MAX_UTILIZATION, int(ratio * 100) / 100))
    reason = (
        f"{tightest.name} has {tightest.free_bytes / _GIB:.1f} of "
        f"{tightest.total_bytes / _GIB:.1f} GiB free, "
        f"less {_DESKTOP_MARGIN_BYTES / _GIB:.1f} GiB for the desktop"
    )
    return EngineDefault("gpu-memory-utilization", value, reason)


def find_parallel_problem(gpus: Sequence[Gpu], heads: int | None) -> str | None:
    """Give the reason why these GPUs cannot serve one model together, or None when they can.

    Args:
        gpus: More than one GPU.
        heads: The model's attention heads; None where they are not known.
    """
    first = gpus[0]
    for gpu in gpus[1:]:
        if (gpu.name, gpu.total_bytes, gpu.capability) != (first.name, first.total_bytes, first.capability):
            return f"{first.name} and {gpu.name} are not alike"
    if heads is None:
        return "the model's attention heads are not known"
    if heads % len(gpus):
        return f"{len(gpus)} GPUs do not divide the model's {heads} attention heads"
    return None
