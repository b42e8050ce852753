from __future__ import annotations

import pytest

from stack.operations.top.words import (
    describe_age,
    describe_gigabytes,
    describe_number,
    describe_percent,
    describe_quantile,
    describe_rate,
    describe_seconds,
)
from stack.telemetry.live import Latency


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0, "0"), (7.0, "7"), (0.4, "0.4"), (999.96, "1,000"), (46592, "46,592"), (186_400, "186.4k"),
     (1_200_000, "1.2M"), (3e9, "3.0G"), (99_999.4, "99,999")],
)  # fmt: skip
def test_numbers_are_short(value, text):
    assert describe_number(value) == text
    assert len(text) <= 7


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (0, "0.0"), (0.01, "<0.1"), (0.05, "0.1"), (7.0, "7.0"), (1234.5, "1,234")]
)
def test_a_rate_keeps_its_tenth_and_a_little_is_not_nothing(value, text):
    assert describe_rate(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(None, "-"), (0, "0.0 %"), (0.0001, "<0.1 %"), (0.4321, "43.2 %"), (0.9999, "99.9 %"), (1.0, "100.0 %")],
)
def test_all_is_all_and_nothing_is_nothing(share, text):
    assert describe_percent(share) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.0004, "0.4 ms"), (0.00996, "10 ms"), (0.0321, "32 ms"), (0.9996, "1.00 s"), (1.234, "1.23 s"),
     (9.996, "10.0 s"), (99.96, "100 s"), (2560.0, "2560 s")],
)  # fmt: skip
def test_times_are_short(seconds, text):
    assert describe_seconds(seconds) == text
    assert len(text) <= 7


def test_a_quantile_beyond_the_highest_bound_says_only_that():
    latency = Latency(9, {0.5: 1.0, 0.95: 2560.0}, 2560.0)
    assert describe_quantile(latency, 0.5) == "1.00 s"
    assert describe_quantile(latency, 0.95) == ">2560 s"
    assert describe_quantile(latency, 0.99) == describe_quantile(None, 0.5) == "-"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0 s"), (45, "45 s"), (300, "5 min"), (7500, "2 h 5 min"), (183_600, "2 d 3 h")],
)
def test_ages_have_two_units_at_most(seconds, text):
    assert describe_age(seconds) == text


def test_memory_is_in_decimal_gigabytes():
    assert (describe_gigabytes(25_757_220_864), describe_gigabytes(None)) == ("25.8", "-")
