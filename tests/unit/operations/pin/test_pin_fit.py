"""What of this machine decides whether an image runs, and what stops."""

import types

import pytest

from stack.checks.cuda_support import DEFAULT_IMAGE, build_variant
from stack.checks.gpus import Gpu, GpuReport, read_gpus
from stack.config.schema import StackConfig
from stack.errors import HostError
from stack.images.fit import HostFacts, Judgement, read_engine_facts
from stack.images.manifests import ImageConfig
from stack.operations.pin.fit import demand_fit, judge_fit, read_host
from stack.operations.pin.run import choose_pin_device
from tests.fixtures.fake_nvml import H100, RTX_4090, build_nvml

GPUS = GpuReport((Gpu(0, "GPU-a", "A100", 1, 1, (8, 0)), Gpu(1, "GPU-b", "GTX 1080", 1, 1, (6, 1))), "580.65.06", "")
NONE = GpuReport(reason="no NVIDIA GPU on this machine")
MISFIT = Judgement("driver", "does not fit", "CUDA 13.0 needs driver 580 or newer, this machine has 570")


def read(tmp_path, **engine):
    client = types.SimpleNamespace(info=lambda: {"DockerRootDir": str(tmp_path)})
    return read_host(StackConfig.model_validate({"engine": engine}), "cuda", GPUS, client, "x86_64")


def test_a_machine_is_its_gpus_driver_platform_and_disk(tmp_path):
    host = read(tmp_path)
    assert host.gpus == (("A100", (8, 0)), ("GTX 1080", (6, 1)))
    assert (host.platform, host.driver) == ("linux/amd64", "580.65.06") and host.free_bytes > 0


@pytest.mark.parametrize("devices", [["0"], ["GPU-a"]])
def test_gpus_that_the_engine_does_not_get_do_not_count(tmp_path, devices):
    assert read(tmp_path, device="cuda", devices=devices).gpus == (("A100", (8, 0)),)


def test_a_disk_that_cannot_be_looked_at_is_not_known(tmp_path):
    assert read(tmp_path / "elsewhere").free_bytes is None
    assert read_host(StackConfig(), "cpu", NONE, None, "aarch64").free_bytes is None


def test_a_misfit_stops_with_the_command_that_overrides_it():
    with pytest.raises(HostError, match="driver: CUDA 13.0 needs driver 580") as caught:
        demand_fit([MISFIT], False, "stack pin x --anyway")
    assert "stack pin x --anyway" in caught.value.hint
    demand_fit([MISFIT], True, "stack pin x --anyway")
    demand_fit([Judgement("driver", "unknown", "?")], False, "")


@pytest.mark.parametrize(
    ("asked", "cuda", "report", "device"),
    [
        ("auto", None, GPUS, "cuda"),
        ("auto", None, NONE, "cpu"),
        ("auto", "cu129", NONE, "cuda"),
        ("cpu", None, GPUS, "cpu"),
        ("cuda", None, NONE, "cuda"),
    ],
)
def test_the_device_is_the_one_asked_for_else_what_this_machine_has(asked, cuda, report, device):
    config = StackConfig.model_validate({"engine": {"device": asked}})
    image = build_variant(cuda) or DEFAULT_IMAGE
    assert choose_pin_device(config, report, image, is_variant_asked=cuda is not None) == device


@pytest.mark.parametrize(
    ("board", "driver", "cuda", "device"),
    [
        (RTX_4090, "575.51.03", None, "cpu"),
        (RTX_4090, "575.51.03", "cu129", "cuda"),
        (H100, "535.54", "cu129", "cuda"),
        (RTX_4090, "570.86.15", "cu129", "cpu"),
    ],
)
def test_a_driver_counts_for_the_variant_that_the_image_has(board, driver, cuda, device):
    report = read_gpus(build_nvml(board, driver=driver))
    assert choose_pin_device(StackConfig(), report, build_variant(cuda) or DEFAULT_IMAGE) == device


CUDA13 = {
    "CUDA_VERSION": "13.0.2",
    "NVIDIA_REQUIRE_CUDA": "cuda>=13.0 brand=unknown,driver>=535,driver<536 brand=tesla,driver>=570,driver<571",
    "TORCH_CUDA_ARCH_LIST": "7.5 8.0 8.6 8.9 9.0 10.0 12.0",
}
CUDA129 = CUDA13 | {
    "CUDA_VERSION": "12.9.1",
    "NVIDIA_REQUIRE_CUDA": "cuda>=12.9 brand=tesla,driver>=535,driver<536 brand=tesla,driver>=570,driver<571",
}
RTX4090 = ("NVIDIA GeForce RTX 4090", (8, 9))
A100 = ("NVIDIA A100", (8, 0))


def judge(environment=CUDA13, driver="580.65.06", gpus=(RTX4090,), device="cuda", no_gpu="", env=None):
    host = HostFacts("linux/amd64", device, gpus, driver, no_gpu, None)
    facts = read_engine_facts(ImageConfig(environment=environment, platform="linux/amd64"), None)
    return {item.what: item for item in judge_fit(facts, host, env or {})}


def test_an_image_that_fits_fits_in_every_way():
    verdicts = {what: item.verdict for what, item in judge().items()}
    assert verdicts == dict.fromkeys(("platform", "driver", "kernels", "disk"), "fits")


@pytest.mark.parametrize(
    ("environment", "driver", "gpu", "verdict"),
    [
        (CUDA13, "575.51.03", RTX4090, "does not fit"),
        (CUDA13, "570.10", RTX4090, "does not fit"),
        (CUDA13, "570.10", A100, "unknown"),
        (CUDA129, "575.51.03", RTX4090, "fits"),
        (CUDA129, "570.10", RTX4090, "does not fit"),
        (CUDA129, "570.10", A100, "fits"),
        ({"CUDA_VERSION": "12.9.1"}, "570.10", RTX4090, "fits"),
        ({}, "570.10", RTX4090, "unknown"),
    ],
)
def test_the_driver_is_held_against_what_the_image_itself_says(environment, driver, gpu, verdict):
    item = judge(environment, driver, (gpu,))["driver"]
    assert item.verdict == verdict
    assert ("the image's own word" in item.message) is bool(environment)


def test_a_switch_in_the_engines_environment_counts():
    env = {"VLLM_ENABLE_CUDA_COMPATIBILITY": "1"}
    assert judge(CUDA13, "570.10", (A100,), env=env)["driver"].verdict == "fits"


def test_of_two_gpus_one_with_kernels_will_do_and_the_other_is_named():
    item = judge(gpus=(RTX4090, ("NVIDIA GeForce GTX 1080", (6, 1))))["kernels"]
    assert item.verdict == "fits"
    assert "for NVIDIA GeForce RTX 4090 (8.9), but none for NVIDIA GeForce GTX 1080 (6.1)" in item.message
    assert judge(gpus=(("NVIDIA GeForce GTX 1080", (6, 1)),))["kernels"].verdict == "does not fit"
    assert judge({})["kernels"].verdict == "unknown"


def test_a_machine_without_a_gpu_says_why():
    found = judge(gpus=(), driver=None, no_gpu="no NVIDIA GPU on this machine")
    assert [found[what].verdict for what in ("driver", "kernels")] == ["does not fit"] * 2
    assert found["driver"].message == "no NVIDIA GPU on this machine"


def test_on_a_cpu_neither_driver_nor_kernels_are_asked_for():
    assert list(judge(device="cpu", gpus=(), driver=None)) == ["platform", "disk"]
