from __future__ import annotations

import pytest

from stack.checks.cuda_support import can_run_forward, find_min_driver, is_arch_covered, parse_driver

IMAGE = ((7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0))


@pytest.mark.parametrize(
    ("cuda", "driver"), [((13, 0), (580,)), ((12, 9), (525,)), ((11, 8), (450,)), ((10, 2), None), (None, None)]
)
def test_a_cuda_version_has_an_oldest_driver(cuda, driver):
    assert find_min_driver(cuda) == driver


def test_versions_are_compared_as_numbers():
    assert parse_driver("580.95.05") == (580, 95, 5)
    assert parse_driver("580.95.05") > parse_driver("580.65.06") > parse_driver("99.9")
    assert parse_driver(None) == ()


@pytest.mark.parametrize(
    ("driver", "boards", "can"),
    [
        ("570.211.01", ["NVIDIA H100 80GB HBM3"], True),
        ("535.54", ["NVIDIA RTX PRO 6000 Blackwell Workstation Edition"], True),
        ("570.211.01", ["NVIDIA GeForce RTX 4090"], False),
        ("570.211.01", ["NVIDIA H100 80GB HBM3", "NVIDIA GeForce RTX 4090"], False),
        ("550.54.14", ["NVIDIA H100 80GB HBM3"], False),
        ("570.211.01", [], False),
    ],
)
def test_a_newer_cuda_on_an_older_driver_is_not_for_geforce(driver, boards, can):
    assert can_run_forward(parse_driver(driver), boards) is can


@pytest.mark.parametrize(
    ("capability", "covered"),
    [
        ((6, 1), False),
        ((7, 0), False),
        ((7, 5), True),
        ((8, 7), True),
        ((9, 0), True),
        ((11, 0), False),
        ((12, 1), True),
    ],
)
def test_kernels_run_on_later_boards_of_the_same_major_version_only(capability, covered):
    assert is_arch_covered(capability, IMAGE) is covered
