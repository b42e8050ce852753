"""Which model is served when none is asked for."""

from __future__ import annotations

import pytest

from stack.models.defaults import CPU_MODEL, DEMO_MODEL, GPU_MODELS, choose_default_model

GIB = 1024**3


@pytest.mark.parametrize(
    ("free_gib", "model"),
    [
        (95, "Qwen/Qwen2.5-32B-Instruct"),
        (76, "Qwen/Qwen2.5-32B-Instruct"),
        (75.9, "Qwen/Qwen2.5-14B-Instruct"),
        (22.5, "Qwen/Qwen2.5-7B-Instruct"),
        (15, "Qwen/Qwen3-4B-Instruct-2507"),
        (7, "Qwen/Qwen2.5-1.5B-Instruct"),
        (4, "Qwen/Qwen2.5-0.5B-Instruct"),
    ],
)
def test_a_gpu_gets_the_largest_model_that_fits_what_is_free(free_gib, model):
    chosen, reason = choose_default_model(int(free_gib * GIB), None)
    assert chosen == model
    assert reason == f"the largest of the defaults that fits {free_gib:.1f} GiB of free GPU memory"


def test_a_full_gpu_gets_the_demo_model():
    chosen, reason = choose_default_model(3 * GIB, None)
    assert chosen == DEMO_MODEL
    assert reason == "only 3.0 GiB of GPU memory is free, too little for the other defaults"


def test_a_cpu_gets_a_small_model_from_the_hub():
    assert choose_default_model(None, None) == (CPU_MODEL, "a small model from the hub, for a CPU")


@pytest.mark.parametrize("free", [None, 95 * GIB])
def test_without_a_hub_there_is_the_demo_model_and_the_reason(free):
    chosen, reason = choose_default_model(free, "connection refused")
    assert chosen == DEMO_MODEL
    assert reason == "the model hub does not answer (connection refused), and the demo model needs none"


def test_the_table_goes_from_large_to_small_and_leaves_room_beside_the_weights():
    # Weights in bfloat16 as the hub states them, in GB.
    weights = [65.5, 29.6, 15.2, 8.0, 3.1, 1.0]
    needs = [model.min_free_bytes for model in GPU_MODELS]
    assert needs == sorted(needs, reverse=True)
    assert all(need > size * 1e9 + 2.5 * GIB for need, size in zip(needs, weights, strict=True))
