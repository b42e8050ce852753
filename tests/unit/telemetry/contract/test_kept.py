"""Which shipped inventory stands for a version."""

from __future__ import annotations

import pytest

from stack.telemetry.contract.inventory import load_inventory
from stack.telemetry.contract.kept import choose_version, find_kept_inventory

KEPT = ["0.32.0", "0.9.2", "0.30.0", "0.31.0"]


@pytest.mark.parametrize(
    ("wanted", "found", "is_exact"),
    [
        ("0.31.0", "0.31.0", True),
        ("v0.31.0", "0.31.0", True),
        ("0.31.0+cpu", "0.31.0", True),
        ("0.31.0+cu129", "0.31.0", True),
        (None, "0.32.0", True),
        ("0.31.1", "0.31.0", False),
        ("0.31.0.post1", "0.31.0", False),
        ("0.40.0", "0.32.0", False),
        ("0.9.0", "0.9.2", False),
        ("0.32.0rc1", "0.31.0", False),
        ("0.32.0.dev7+gdee37d891", "0.31.0", False),
        ("0.32.1rc1.dev347+gdee37d891.cu129", "0.32.0", False),
        ("0.32.0+gdee37d891.cpu", "0.32.0", True),
        ("nightly", "0.32.0", False),
    ],
)
def test_a_version_is_itself_or_the_newest_before_it(wanted: str | None, found: str, is_exact: bool) -> None:
    assert choose_version(KEPT, wanted) == (found, is_exact)


def test_what_is_found_is_of_the_version_that_it_says() -> None:
    kept = find_kept_inventory("0.31.0")
    assert kept.is_exact and load_inventory(kept.path).source == "vLLM 0.31.0"
