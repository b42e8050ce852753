"""Bars keep to their drawing and to each other's proportions."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stack.history.chart import WIDTH, Value, build_chart, format_seconds

SECONDS = st.floats(0, 1e6)


@settings(derandomize=True, deadline=None, database=None)
@given(st.lists(st.tuples(st.text(max_size=60), st.lists(SECONDS, max_size=3)), max_size=12))
def test_every_bar_lies_in_the_drawing_and_none_on_another(groups):
    chart = build_chart("x", [(label, [Value("now", seconds) for seconds in values]) for label, values in groups])
    assert len(chart.bars) == sum(len(values) for _, values in groups)
    tops = [bar.y for bar in chart.bars]
    assert all(later >= earlier + bar.height for earlier, later, bar in zip(tops, tops[1:], chart.bars, strict=False))
    for bar in chart.bars:
        assert 0 <= bar.width <= WIDTH - bar.x
        assert bar.y + bar.height <= chart.height + bar.height
    longest = max((seconds for _, values in groups for seconds in values), default=0)
    for bar, seconds in zip(chart.bars, (seconds for _, values in groups for seconds in values), strict=True):
        if longest:
            assert bar.width == pytest.approx(380 * seconds / longest, abs=0.06)


def test_a_group_is_named_once_and_a_long_name_is_cut():
    chart = build_chart("x", [("load", [Value("now", 2.0), Value("before", 1.0, "in boot-1")]), ("n" * 99, [])])
    assert [(bar.role, bar.label, bar.text) for bar in chart.bars] == [
        ("now", "load", "2.0 s"), ("before", "", "1.0 s in boot-1"),
    ]  # fmt: skip
    assert len(build_chart("x", [("n" * 99, [Value("now", 1.0)])]).bars[0].label) == 26


def test_nothing_took_no_room():
    assert build_chart("x", []).bars == ()
    assert build_chart("x", [("load", [Value("now", 0.0)])]).bars[0].width == 0.0


@pytest.mark.parametrize(("seconds", "text"), [(0.056, "0.06 s"), (1.04, "1.0 s"), (9.96, "10.0 s"), (152.9, "153 s")])
def test_seconds_have_as_many_digits_as_they_deserve(seconds, text):
    assert format_seconds(seconds) == text
