"""Axes begin at zero, end at a round number, and hold every point."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stack.history.plot import BOTTOM, TOP, build_plot, find_ticks

NUMBERS = st.floats(0, 1e6)


@pytest.mark.parametrize(
    ("largest", "ticks"),
    [
        (2.79, [0, 1, 2, 3]),
        (130.96, [0, 50, 100, 150]),
        (2.34, [0, 0.5, 1, 1.5, 2, 2.5]),
        (0.0, [0, 1]),
        (5.0, [0, 1, 2, 3, 4, 5]),
        (0.0007, [0, 0.0002, 0.0004, 0.0006, 0.0008]),
    ],
)
def test_ticks_are_round_numbers_from_zero_to_above_the_largest(largest, ticks):
    assert find_ticks(largest) == ticks


@settings(derandomize=True, deadline=None, database=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=12))
def test_every_point_lies_within_the_axes_from_left_to_right(values):
    plot = build_plot("rate", "tokens", values)
    assert [point.x for point in plot.points] == sorted(point.x for point in plot.points)
    assert all(0 <= point.x <= 100 and TOP <= point.y <= BOTTOM for point in plot.points)
    assert (plot.x_ticks[0].at, plot.y_ticks[0].at) == (0, BOTTOM)
    assert (plot.x_ticks[-1].at, plot.y_ticks[-1].at) == (100, TOP)
    assert len(plot.lines) == max(0, len(values) - 1)


def test_a_plot_is_told_in_words_and_its_mark_lies_at_its_x():
    plot = build_plot("requests a second", "TTFT p95, seconds", [(2, 0.5), (1, 0.25)], (2, "knee"))
    assert plot.said == "TTFT p95, seconds at requests a second: 0.25 at 1, 0.5 at 2"
    assert plot.mark is not None
    assert (plot.mark.at, plot.mark.text) == (100, "knee")
