"""Whether an image runs on a machine, from its config alone."""

import dataclasses

import pytest

from stack.images.fit import EngineFacts, HostFacts, find_misfits, judge_fit, read_engine_facts
from stack.images.manifests import ImageConfig

GIB = 1024**3
# As nvidia/cuda:13.0 and vLLM's Dockerfile set them.
CUDA13 = ImageConfig(
    environment={
        "CUDA_VERSION": "13.0.2",
        "NVIDIA_REQUIRE_CUDA": "cuda>=13.0 brand=unknown,driver>=535,driver<536 brand=tesla,driver>=570,driver<571",
        "TORCH_CUDA_ARCH_LIST": "7.5 8.0 8.6 8.9 9.0 10.0 12.0",
    },
    platform="linux/amd64",
)
RTX4090 = ("NVIDIA GeForce RTX 4090", (8, 9))
HOST = HostFacts("linux/amd64", "cuda", (RTX4090,), "580.65.06", "", 100 * GIB)


def judge(config=CUDA13, size_bytes=9 * GIB, **host):
    found = judge_fit(read_engine_facts(config, size_bytes), dataclasses.replace(HOST, **host))
    return {item.what: item for item in found}


def test_the_facts_of_an_image_are_read_from_its_environment():
    facts = read_engine_facts(CUDA13, 9)
    assert (facts.cuda, facts.required_cuda, facts.min_driver, facts.spared_drivers) == (
        (13, 0),
        (13, 0),
        580,
        (535, 570),
    )
    assert facts.arches == ("7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "12.0")
    assert read_engine_facts(ImageConfig(), None) == EngineFacts()


def test_an_image_that_fits_fits_in_every_way():
    assert {what: item.verdict for what, item in judge().items()} == dict.fromkeys(
        ("platform", "driver", "kernels", "disk"), "fits"
    )


def test_an_old_driver_is_told_with_the_one_that_is_needed():
    item = judge(driver="575.51.03")["driver"]
    assert item.verdict == "does not fit"
    assert item.message == "CUDA 13.0 needs driver 580 or newer, this machine has 575.51.03"


def test_forward_compatibility_is_for_datacenter_boards_alone():
    assert judge(driver="570.10")["driver"].verdict == "does not fit"
    assert judge(driver="570.10", gpus=(("NVIDIA A100", (8, 0)),))["driver"].verdict == "unknown"


def test_cuda_12_9_runs_on_the_driver_that_13_0_does_not():
    config = ImageConfig(environment={"CUDA_VERSION": "12.9.1"})
    assert judge(config, driver="575.51.03")["driver"].verdict == "fits"
    assert judge(config, driver="570.10")["driver"].verdict == "does not fit"


@pytest.mark.parametrize(
    ("arches", "capability", "verdict"),
    [
        ("8.0", (8, 9), "fits"),
        ("8.9", (8, 6), "does not fit"),
        ("7.5 8.0", (6, 1), "does not fit"),
        ("8.0 9.0+PTX", (12, 0), "fits"),
        ("8.0 9.0", (12, 0), "does not fit"),
        ("9.0a", (9, 0), "fits"),
        ("10.0a", (10, 3), "does not fit"),
        ("10.0f", (10, 3), "fits"),
        ("8.0;8.6", (8, 6), "fits"),
        ("", (8, 0), "unknown"),
        ("nonsense", (8, 0), "does not fit"),
    ],
)
def test_kernels_are_for_a_major_version_and_upwards_within_it(arches, capability, verdict):
    config = ImageConfig(environment={"TORCH_CUDA_ARCH_LIST": arches})
    assert judge(config, gpus=(("GPU", capability),))["kernels"].verdict == verdict


def test_of_two_gpus_one_with_kernels_will_do_and_the_other_is_named():
    item = judge(gpus=(RTX4090, ("NVIDIA GeForce GTX 1080", (6, 1))))["kernels"]
    assert item.verdict == "fits"
    assert "for NVIDIA GeForce RTX 4090 (8.9), but none for NVIDIA GeForce GTX 1080 (6.1)" in item.message


def test_a_machine_without_a_gpu_says_why():
    found = judge(gpus=(), driver=None, no_gpu="no NVIDIA GPU on this machine")
    assert [found[what].verdict for what in ("driver", "kernels")] == ["does not fit"] * 2
    assert found["driver"].message == "no NVIDIA GPU on this machine"


def test_on_a_cpu_neither_driver_nor_kernels_are_asked_for():
    assert list(judge(device="cpu", gpus=(), driver=None)) == ["platform", "disk"]


def test_the_disk_must_hold_what_is_pulled_and_unpacked():
    assert judge(free_bytes=20 * GIB)["disk"].verdict == "does not fit"
    assert judge(free_bytes=None)["disk"].verdict == "unknown"
    assert judge(size_bytes=None, free_bytes=0)["disk"].message == "the image is here already"


def test_an_image_of_another_platform_does_not_fit_and_one_that_says_none_may():
    found = judge_fit(read_engine_facts(CUDA13, 1), dataclasses.replace(HOST, platform="linux/arm64"))
    assert [item.what for item in find_misfits(found)] == ["platform"]
    assert judge(ImageConfig())["platform"].verdict == "unknown"
