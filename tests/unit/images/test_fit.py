"""What an image was built for, from its config alone, and whether platform and disk take it."""

import dataclasses

from stack.images.fit import EngineFacts, HostFacts, find_misfits, judge_disk, judge_platform, read_engine_facts
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


def test_the_facts_of_an_image_are_read_from_its_environment():
    facts = read_engine_facts(CUDA13, 9)
    assert (facts.cuda, facts.required_cuda, facts.spared_drivers) == ((13, 0), (13, 0), (535, 570))
    assert facts.spared_consumer_drivers == ()
    assert facts.arches == ("7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "12.0")
    assert read_engine_facts(ImageConfig(), None) == EngineFacts()


def test_branches_are_spared_by_brand():
    # As nvidia/cuda:12.4 has it, shortened: minor version compatibility is for GeForce too.
    words = "cuda>=12.4 brand=tesla,driver>=470,driver<471 brand=geforcertx,driver>=535,driver<536 driver>=600"
    facts = read_engine_facts(ImageConfig(environment={"NVIDIA_REQUIRE_CUDA": words}), None)
    assert (facts.required_cuda, facts.spared_drivers, facts.spared_consumer_drivers) == (
        (12, 4),
        (470, 600),
        (535, 600),
    )


def test_the_disk_must_hold_what_is_pulled_and_unpacked():
    pulled = EngineFacts(size_bytes=9 * GIB)
    assert judge_disk(pulled, HOST).verdict == "fits"
    assert judge_disk(pulled, dataclasses.replace(HOST, free_bytes=20 * GIB)).verdict == "does not fit"
    assert judge_disk(pulled, dataclasses.replace(HOST, free_bytes=None)).verdict == "unknown"
    assert judge_disk(EngineFacts(), dataclasses.replace(HOST, free_bytes=0)).message == "the image is here already"


def test_an_image_of_another_platform_does_not_fit_and_one_that_says_none_may():
    facts = read_engine_facts(CUDA13, 1)
    assert judge_platform(facts, HOST).verdict == "fits"
    found = judge_platform(facts, dataclasses.replace(HOST, platform="linux/arm64"))
    assert find_misfits([found]) == [found]
    assert judge_platform(EngineFacts(), HOST).verdict == "unknown"
