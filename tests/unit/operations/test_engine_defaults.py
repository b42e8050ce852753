"""The engine args that the tool sets where the user set none."""

from __future__ import annotations

import pytest

from stack.checks.gpus import Gpu
from stack.operations.engine_defaults import choose_engine_defaults, find_parallel_problem

GIB = 1024**3
MIB = 1024**2


def build_gpu(name="NVIDIA H100 80GB HBM3", total=80 * GIB, free=79 * GIB, capability=(9, 0), index=0):
    return Gpu(index, f"GPU-{index}", name, total, free, capability)


def names(defaults):
    return {default.name: default.value for default in defaults}


COMMON = {"max-model-len": "auto", "disable-access-log-for-endpoints": "/health,/metrics,/ping,/version"}


def test_a_cpu_engine_runs_eager_with_a_tenth_of_the_memory_for_its_kv_cache():
    defaults = choose_engine_defaults("cpu", {}, memory_bytes=24 * GIB)
    assert names(defaults) == {"enforce-eager": True, "kv-cache-memory-bytes": "2G", **COMMON}
    assert all(default.reason for default in defaults)


@pytest.mark.parametrize(("memory_gib", "size"), [(4, "1G"), (16, "1G"), (39, "3G"), (64, "4G"), (512, "4G")])
def test_the_kv_cache_of_a_cpu_lies_between_1_and_4_gib(memory_gib, size):
    defaults = choose_engine_defaults("cpu", {}, memory_bytes=memory_gib * GIB)
    assert names(defaults)["kv-cache-memory-bytes"] == size


@pytest.mark.parametrize(
    ("asked", "gone"),
    [
        ({"enforce-eager": False}, "enforce-eager"),
        ({"compilation-config": {"level": 3}}, "enforce-eager"),
        ({"optimization-level": 1}, "enforce-eager"),
        ({"kv-cache-memory-bytes": "8G"}, "kv-cache-memory-bytes"),
        ({"gpu-memory-utilization": 0.5}, "kv-cache-memory-bytes"),
        ({"max-model-len": 4096}, "max-model-len"),
        ({"disable-access-log-for-endpoints": ""}, "disable-access-log-for-endpoints"),
    ],
)
def test_what_the_user_set_is_never_touched(asked, gone):
    assert gone not in names(choose_engine_defaults("cpu", asked, memory_bytes=24 * GIB))


@pytest.mark.parametrize(
    ("total", "free", "value"),
    [
        (24564, 23028, 0.91),  # a desktop draws on it
        (81559, 81080, 0.92),  # nobody else does: vLLM's own default is the most
        (24564, 6000, 0.22),
        (24564, 300, 0.05),
    ],
)
def test_a_shared_gpu_gives_what_is_free_less_a_margin(total, free, value):
    gpus = [build_gpu(total=total * MIB, free=free * MIB)]
    assert names(choose_engine_defaults("cuda", {}, gpus=gpus))["gpu-memory-utilization"] == value


def test_the_utilization_is_told_with_its_numbers():
    gpus = [build_gpu("NVIDIA GeForce RTX 4090", 24564 * MIB, 23028 * MIB)]
    (default,) = [
        item for item in choose_engine_defaults("cuda", {}, gpus=gpus) if item.name == "gpu-memory-utilization"
    ]
    assert default.reason == ("NVIDIA GeForce RTX 4090 has 22.5 of 24.0 GiB free, less 0.5 GiB for the desktop")


def test_of_several_gpus_the_tightest_decides():
    gpus = [build_gpu(), build_gpu(free=40 * GIB, index=1)]
    assert names(choose_engine_defaults("cuda", {}, gpus=gpus, heads=64))["gpu-memory-utilization"] == 0.49


@pytest.mark.parametrize("name", ["gpu-memory-utilization", "device-memory-utilization", "kv-cache-memory-bytes"])
def test_a_size_that_the_user_set_in_any_way_stays(name):
    assert "gpu-memory-utilization" not in names(choose_engine_defaults("cuda", {name: 0.5}, gpus=[build_gpu()]))


def test_gpus_of_one_kind_share_a_model_whose_heads_they_divide():
    gpus = [build_gpu(), build_gpu(index=1)]
    defaults = choose_engine_defaults("cuda", {}, gpus=gpus, heads=64)
    assert names(defaults)["tensor-parallel-size"] == 2


@pytest.mark.parametrize(
    ("gpus", "heads", "asked"),
    [
        ([build_gpu()], 64, {}),
        ([build_gpu(), build_gpu(index=1)], 9, {}),
        ([build_gpu(), build_gpu(index=1)], None, {}),
        ([build_gpu(), build_gpu("NVIDIA GeForce RTX 4090", index=1)], 64, {}),
        ([build_gpu(), build_gpu(index=1)], 64, {"tensor-parallel-size": 1}),
    ],
)
def test_otherwise_no_tensor_parallel_size_is_set(gpus, heads, asked):
    assert "tensor-parallel-size" not in names(choose_engine_defaults("cuda", asked, gpus=gpus, heads=heads))


@pytest.mark.parametrize(
    ("other", "heads", "problem"),
    [
        (build_gpu(index=1), 64, None),
        (build_gpu(index=1), 9, "2 GPUs do not divide the model's 9 attention heads"),
        (build_gpu(index=1), None, "the model's attention heads are not known"),
        (build_gpu(total=94 * GIB), 64, "NVIDIA H100 80GB HBM3 and NVIDIA H100 80GB HBM3 are not alike"),
        (build_gpu("NVIDIA L4"), 64, "NVIDIA H100 80GB HBM3 and NVIDIA L4 are not alike"),
    ],
)
def test_two_gpus_share_a_model_only_when_nothing_speaks_against_it(other, heads, problem):
    assert find_parallel_problem([build_gpu(), other], heads) == problem


def test_every_default_has_a_reason_and_a_name_of_vllms():
    for device, gpus in (("cpu", []), ("cuda", [build_gpu(), build_gpu(index=1)])):
        for default in choose_engine_defaults(device, {}, gpus=gpus, heads=64, memory_bytes=24 * GIB):
            assert default.reason and not default.reason.endswith(".")
            assert not default.name.startswith("-")
