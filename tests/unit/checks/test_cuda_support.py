"""Which driver and board run which image; what the images demand is as their base images have it in public reports."""

from __future__ import annotations

import pytest

from stack.checks.cuda_support import (
    DEFAULT_IMAGE,
    FORWARD_SWITCH,
    REQUIRE_SWITCH,
    CudaImage,
    build_variant,
    describe_kernels,
    has_kernels,
    judge_driver,
    parse_branch,
)

GEFORCE, PRO, H100 = (
    "NVIDIA GeForce RTX 4090",
    "NVIDIA RTX PRO 6000 Blackwell Workstation Edition",
    "NVIDIA H100 80GB HBM3",
)
CU129 = build_variant("cu129")
# Built from packages: no base image of NVIDIA's that demands anything of the driver.
BUILT = CudaImage((12, 9), source="packages")


@pytest.mark.parametrize(
    ("image", "driver", "board", "runs"),
    [
        (DEFAULT_IMAGE, "580.65.06", GEFORCE, "yes"),
        (DEFAULT_IMAGE, "610.1", H100, "yes"),
        (DEFAULT_IMAGE, "575.51.03", GEFORCE, "no"),
        (DEFAULT_IMAGE, "570.86.15", H100, "perhaps"),
        (DEFAULT_IMAGE, "570.86.15", PRO, "perhaps"),
        (DEFAULT_IMAGE, "560.28", H100, "no"),
        (CU129, "575.51.03", GEFORCE, "yes"),
        (CU129, "580.95.05", GEFORCE, "yes"),
        (CU129, "570.86.15", GEFORCE, "no"),
        (CU129, "570.86.15", H100, "yes"),
        (CU129, "535.54", H100, "yes"),
        (CU129, "545.23", H100, "no"),
        (CU129, "470.256", H100, "no"),
        (BUILT, "570.86.15", GEFORCE, "yes"),
        (BUILT, "525.60", GEFORCE, "yes"),
        (BUILT, "520.61", GEFORCE, "no"),
        (CudaImage(), "470.1", GEFORCE, "unknown"),
        (CudaImage((10, 2)), "470.1", GEFORCE, "unknown"),
        (CudaImage((13, 1), (13, 1), (580,)), "580.1", H100, "yes"),
        (CudaImage((13, 2)), "590.1", GEFORCE, "yes"),
        (DEFAULT_IMAGE, None, GEFORCE, "no"),
    ],
)
def test_a_driver_is_held_against_what_the_image_has_and_demands(image, driver, board, runs):
    assert judge_driver(image, driver, [board]).runs == runs


def test_what_was_compared_names_what_the_facts_rest_on():
    found = judge_driver(DEFAULT_IMAGE, "570.86.15", [GEFORCE])
    assert found.message == (
        "driver 570.86.15 is too old for CUDA 13.0: 580 or newer is needed (vLLM's default images)"
    )
    assert found.needed == 580
    minor = judge_driver(CU129, "535.54", [H100]).message
    assert minor == (
        "driver 535.54 runs CUDA 12.9 by minor version compatibility (12.x runs from 525 on; "
        "vLLM's images for CUDA 12.9)"
    )


@pytest.mark.parametrize(
    ("driver", "boards", "remedies"),
    [
        ("575.51.03", [GEFORCE], ["--cuda cu129"]),
        ("570.86.15", [GEFORCE], []),
        ("570.86.15", [H100], [FORWARD_SWITCH, "--cuda cu129"]),
        ("570.86.15", [H100, GEFORCE], []),
        ("470.256.02", [H100], []),
        ("570.86.15", [], ["--cuda cu129"]),
    ],
)
def test_only_what_would_run_on_this_driver_is_proposed(driver, boards, remedies):
    found = judge_driver(DEFAULT_IMAGE, driver, boards).remedies
    assert len(found) == len(remedies)
    assert all(word in remedy for word, remedy in zip(remedies, found, strict=True))


@pytest.mark.parametrize(("value", "runs"), [("1", "yes"), (" True ", "yes"), ("0", "perhaps"), ("", "perhaps")])
def test_forward_compatibility_counts_once_it_is_switched_on(value, runs):
    assert judge_driver(DEFAULT_IMAGE, "570.86.15", [H100], {FORWARD_SWITCH: value}).runs == runs
    assert judge_driver(DEFAULT_IMAGE, "570.86.15", [GEFORCE], {FORWARD_SWITCH: value}).runs == "no"


def test_a_demand_that_is_switched_off_leaves_minor_version_compatibility():
    found = judge_driver(CU129, "570.86.15", [GEFORCE])
    assert REQUIRE_SWITCH in found.remedies[0]
    assert judge_driver(CU129, "570.86.15", [GEFORCE], {REQUIRE_SWITCH: "1"}).runs == "yes"
    assert judge_driver(CU129, "520.61", [GEFORCE], {REQUIRE_SWITCH: "1"}).runs == "no"


def test_an_image_may_spare_geforce_too():
    image = CudaImage((12, 4), (12, 4), (470, 525, 535), (535,))
    assert [judge_driver(image, driver, [GEFORCE]).runs for driver in ("535.1", "525.1")] == ["yes", "no"]


@pytest.mark.parametrize(
    ("text", "cuda"),
    [
        ("cu129", (12, 9)),
        ("v0.31.0-cu129-ubuntu2404", (12, 9)),
        ("cu130-nightly", (13, 0)),
        ("cu128", (12, 8)),
        ("ubuntu2404", None),
        ("v0.31.0", None),
        ("cu1290", None),
        ("focus129", None),
        (None, None),
    ],
)
def test_a_variant_is_read_from_a_name(text, cuda):
    found = build_variant(text)
    assert (found.cuda if found else None) == cuda


@pytest.mark.parametrize(
    ("arches", "capability", "has"),
    [
        ("8.0", (8, 9), True),
        ("8.9", (8, 6), False),
        ("7.5 8.0", (6, 1), False),
        ("8.0 9.0+PTX", (12, 0), True),
        ("8.0 9.0", (12, 0), False),
        ("9.0a", (9, 0), True),
        ("10.0a", (10, 3), False),
        ("10.0f", (10, 3), True),
        ("12.0", (12, 1), True),
        ("nonsense", (8, 0), False),
        ("", (7, 5), True),
        ("", (7, 0), False),
    ],
)
def test_kernels_are_for_a_major_version_and_upwards_within_it(arches, capability, has):
    assert has_kernels(CudaImage(arches=tuple(arches.split())), capability) is has


def test_an_image_that_lists_nothing_is_described_by_the_oldest_board():
    assert describe_kernels(CudaImage()) == "7.5 and newer"
    assert describe_kernels(CudaImage(arches=("8.0", "9.0a"))) == "8.0, 9.0a"


def test_a_driver_that_is_not_told_has_no_branch():
    assert [parse_branch(text) for text in ("580.95.05", "", None, "unknown")] == [580, 0, 0, 0]
