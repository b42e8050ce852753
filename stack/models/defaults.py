"""Which model is served when none is asked for. Pure."""

from __future__ import annotations

from dataclasses import dataclass

_GIB = 1024**3


@dataclass(frozen=True)
class DefaultModel:
    """A model that fits a machine.

    Attributes:
        id: A hub id, or `demo`.
        min_free_bytes: GPU memory that must be free: weights, a KV cache worth having, activations and
            graphs.
    """

    id: str
    min_free_bytes: int


# Ungated, Apache-2.0 instruct models. Weights in bfloat16 as their hub pages state them (1.0, 3.1, 8.0,
# 15.2, 29.6 and 65.5 GB); the rest is an assumption: 2.5 GiB for activations and graphs, and a KV cache of
# some ten thousand tokens.
GPU_MODELS = (
    DefaultModel("Qwen/Qwen2.5-32B-Instruct", 76 * _GIB),
    DefaultModel("Qwen/Qwen2.5-14B-Instruct", 37 * _GIB),
    DefaultModel("Qwen/Qwen2.5-7B-Instruct", 20 * _GIB),
    DefaultModel("Qwen/Qwen3-4B-Instruct-2507", 12 * _GIB),
    DefaultModel("Qwen/Qwen2.5-1.5B-Instruct", 7 * _GIB),
    DefaultModel("Qwen/Qwen2.5-0.5B-Instruct", 4 * _GIB),
)
CPU_MODEL = "HuggingFaceTB/SmolLM2-360M-Instruct"
DEMO_MODEL = "demo"


def choose_default_model(free_gpu_bytes: int | None, hub_reason: str | None) -> tuple[str, str]:
    """Choose a model and say why.

    Args:
        free_gpu_bytes: Free memory of the GPU that the engine gets, or None for a CPU engine.
        hub_reason: Why the model hub does not answer, or None when it does.

    Returns:
        The model's id, and the reason in words.
    """
    if hub_reason is not None:
        return DEMO_MODEL, f"the model hub does not answer ({hub_reason}), and the demo model needs none"
    if free_gpu_bytes is None:
        return CPU_MODEL, "a small model from the hub, for a CPU"
    free = free_gpu_bytes / _GIB
    for model in GPU_MODELS:
        if free_gpu_bytes >= model.min_free_bytes:
            return model.id, f"the largest of the defaults that fits {free:.1f} GiB of free GPU memory"
    return DEMO_MODEL, f"only {free:.1f} GiB of GPU memory is free, too little for the other defaults"
