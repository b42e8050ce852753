"""The expected values are those of `histogram_quantile` (Prometheus 2.42) over the same buckets."""

from __future__ import annotations

import math

import pytest

from stack.telemetry.exposition import Exposition, Sample, parse_exposition
from stack.telemetry.quantile import build_buckets, find_highest_bound, find_quantile

INF = math.inf
EMPTY = Exposition((), {})


def build_page(*counts: tuple[str, float], name: str = "h", **labels: str) -> Exposition:
    return Exposition(tuple(Sample(f"{name}_bucket", {"le": le, **labels}, value) for le, value in counts), {})


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.5, 0.2), (0.25, 0.1), (0.1, 0.04), (0.95, 1.0), (0.99, 1.0), (0.6, 0.6), (0.0, 0.0), (1.0, 1.0)],
)
def test_events_are_spread_evenly_inside_a_bucket(share, expected):
    buckets = ((0.1, 25), (0.2, 50), (1.0, 70), (INF, 100))
    assert find_quantile(buckets, share) == pytest.approx(expected)


def test_beyond_the_highest_bound_it_is_that_bound():
    buckets = ((0.1, 0), (2.5, 0), (INF, 3))
    assert find_quantile(buckets, 0.5) == 2.5
    assert find_highest_bound(buckets) == 2.5


@pytest.mark.parametrize(
    "buckets",
    [(), ((INF, 5),), ((0.1, 5),), ((0.1, 0), (INF, 0)), ((0.1, 1), (0.2, 2)), ((0.1, math.nan), (INF, math.nan))],
)
def test_without_events_or_bounds_there_is_none(buckets):
    assert find_quantile(buckets, 0.5) is None


@pytest.mark.parametrize(
    ("buckets", "expected"),
    [
        (((0.1, INF), (INF, INF)), None), (((0.1, 1), (0.2, INF), (INF, INF)), None),
        (((0.1, 1), (INF, 3), (INF, 3)), None), (((-INF, 1), (0.1, 3), (INF, 3)), None),
        (((0.1, 1), (INF, 3), (INF, 4)), None), (((0.1, 1), (INF, 1), (INF, 3)), 0.1),
    ],
)  # fmt: skip
def test_what_would_be_no_number_is_none(buckets, expected):
    assert find_quantile(buckets, 0.5) == expected


def test_a_first_bound_of_zero_has_nothing_below():
    assert find_quantile(((0.0, 4), (1.0, 5), (INF, 5)), 0.5) == 0.0


def test_buckets_are_what_came_between_two_pages():
    before = build_page(("0.1", 10), ("1.0", 15), ("+Inf", 20))
    after = build_page(("0.1", 12), ("1.0", 25), ("+Inf", 30))
    assert build_buckets(before, after, "h") == ((0.1, 2), (1.0, 10), (INF, 10))


def test_bounds_are_ordered_as_numbers_and_series_added_up_by_bound():
    first = build_page(("10.0", 3), ("+Inf", 4), ("2.5", 1), engine="0")
    second = build_page(("2.5", 10), ("10.0", 10), ("+Inf", 10), engine="1")
    both = Exposition(first.samples + second.samples, {})
    assert build_buckets(EMPTY, both, "h") == ((2.5, 11), (10.0, 13), (INF, 14))
    assert build_buckets(EMPTY, both, "h", engine="0") == ((2.5, 1), (10.0, 3), (INF, 4))


def test_counts_that_were_written_a_moment_later_do_not_fall():
    assert build_buckets(EMPTY, build_page(("0.1", 5), ("1.0", 4), ("+Inf", 6)), "h") == ((0.1, 5), (1.0, 5), (INF, 6))


def test_a_bound_that_is_no_number_is_left_out():
    assert build_buckets(EMPTY, build_page(("0.1", 5), ("much", 6), ("+Inf", 6)), "h") == ((0.1, 5), (INF, 6))
    assert build_buckets(EMPTY, parse_exposition("a 1\n"), "h") == ()
