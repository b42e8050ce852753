"""When records are sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.traffic.schedule import build_schedule


def test_without_offsets_one_is_sent_after_another():
    schedule = build_schedule([None, None])
    assert (schedule.kind, list(schedule.order), schedule.due_seconds, schedule.concurrency) == (
        "one after another", [0, 1], None, 1,
    )  # fmt: skip


def test_offsets_are_counted_from_the_earliest_and_divided_by_the_speed():
    schedule = build_schedule([100.0, 98.0, 101.0], speed=2)
    assert (schedule.kind, list(schedule.order), list(schedule.due_seconds)) == ("as recorded", [1, 0, 2], [0, 1, 1.5])


def test_a_concurrency_keeps_the_order_of_the_file_whatever_the_offsets():
    schedule = build_schedule([5.0, None, 1.0], concurrency=3)
    assert (schedule.kind, list(schedule.order), schedule.concurrency) == ("closed loop", [0, 1, 2], 3)
    assert build_schedule([5.0], concurrency=1).kind == "one after another"


def test_some_offsets_and_some_not_make_no_schedule():
    with pytest.raises(ValueError, match="2 of 3 records have an offset, record 2 has none"):
        build_schedule([1.0, None, 2.0])


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), st.floats(0.1, 10))
def test_every_record_is_sent_once_and_in_time(offsets, speed):
    schedule = build_schedule(offsets, speed=speed)
    assert sorted(schedule.order) == list(range(len(offsets)))
    assert schedule.due_seconds[0] == 0
    assert list(schedule.due_seconds) == sorted(schedule.due_seconds)
