"""Answers are written whole, in the order of the records, for this user alone."""

from __future__ import annotations

import pytest

from stack.errors import TraceError
from stack.traffic.record import Record, RecordedResponse
from stack.traffic.record_file import load_records
from stack.traffic.response_file import ResponseWriter

RECORDS = [Record(name, "POST", "/v1/completions", {"prompt": name}) for name in "abc"]


def test_answers_that_come_in_any_order_are_written_in_the_order_of_the_records(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text("before")
    with ResponseWriter(path) as writer:
        for index in (2, 0, 1):
            writer.take(index, RECORDS[index], RecordedResponse(400 + index, {"error": "x"}))
            assert path.read_text() == "before"
        writer.finish()
    found = load_records(path)
    assert [(record.custom_id, record.response.status) for record in found] == [("a", 400), ("b", 401), ("c", 402)]
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_without_an_end_nothing_is_written(tmp_path):
    path = tmp_path / "out.jsonl"
    with ResponseWriter(path) as writer:
        writer.take(0, RECORDS[0], RecordedResponse(200, None, "hung-up"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["missing/out.jsonl", "."])
def test_a_place_that_cannot_be_written_is_told_before_anything_is_sent(tmp_path, place):
    with pytest.raises(TraceError):
        ResponseWriter(tmp_path / place)
