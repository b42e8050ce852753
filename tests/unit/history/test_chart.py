"""Bars keep to each other's proportions, whatever the width of the page."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stack.history.chart import Value, build_chart, format_seconds

SECONDS = st.floats(0, 1e6)


@settings(derandomize=True, deadline=None, database=None)
@given(st.lists(st.tuples(st.text(max_size=60), st.lists(SECONDS, max_size=3)), max_size=12))
def test_every_bar_is_its_share_of_the_longest(groups):
    chart = build_chart("x", [(label, [Value("now", seconds) for seconds in values]) for label, values in groups])
    every = [seconds for _, values in groups for seconds in values]
    assert len(chart.bars) == len(every)
    for bar, seconds in zip(chart.bars, every, strict=True):
        assert bar.percent == pytest.approx(100 * seconds / max(every) if max(every) else 0, abs=0.006)


def test_a_group_is_named_once_and_in_full():
    chart = build_chart("x", [("load", [Value("now", 2.0), Value("before", 1.0, "in boot-1")]), ("n" * 99, [])])
    assert [(bar.role, bar.label, bar.text) for bar in chart.bars] == [
        ("now", "load", "2.0 s"), ("before", "", "1.0 s in boot-1"),
    ]  # fmt: skip
    assert build_chart("x", [("n" * 99, [Value("now", 1.0)])]).bars[0].label == "n" * 99


def test_nothing_took_no_room():
    assert build_chart("x", []).bars == ()
    assert build_chart("x", [("load", [Value("now", 0.0)])]).bars[0].percent == 0.0


@pytest.mark.parametrize(("seconds", "text"), [(0.056, "0.06 s"), (1.04, "1.0 s"), (9.96, "10.0 s"), (152.9, "153 s")])
def test_seconds_have_as_many_digits_as_they_deserve(seconds, text):
    assert format_seconds(seconds) == text
