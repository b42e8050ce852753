"""No line of a log, however long or odd, may take long to search: a log is what anybody wrote."""

from __future__ import annotations

import pytest

from stack.failures.explain import diagnose

_LINES = {
    "one word": "x" * 100_000,
    "blanks": " " * 100_000,
    "words that begin a failure": "nvml Loading lora kv cache dtype CUDA error: max seq len (1) NCCL " * 1500,
    "open brackets": "([{" * 30_000,
    "dotted names": "A.b." * 25_000,
    "processes": "(A b=1 pid=2) " * 7_000,
    "stamps": "2026-11-21T22:05:10Z " * 5_000,
    "carriage returns": "x\r" * 20_000,
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("line", _LINES.values(), ids=_LINES)
def test_a_hostile_line_is_read_to_its_end(line):
    assert diagnose([line, "next"]).line_count == 2
