"""Server-sent events."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stack.traffic.sse import parse_events


def test_each_event_is_given_when_its_blank_line_comes():
    lines = iter(["data: one", "", "data: two"])
    events = parse_events(lines)

    assert next(events) == "one"
    assert next(lines) == "data: two"


def test_keep_alives_and_other_fields_are_passed_over():
    lines = [": ping", "", "event: message", "id: 7", "data: one", "retry: 3", ""]

    assert list(parse_events(lines)) == ["one"]


def test_data_of_several_lines_is_one_event():
    assert list(parse_events(["data: a", "data:b", ""])) == ["a\nb"]


def test_an_event_that_was_cut_off_is_still_given():
    assert list(parse_events(["data: half"])) == ["half"]


@given(st.lists(st.text(st.characters(exclude_characters="\r\n"), min_size=1), max_size=5))
def test_what_was_written_is_read(texts):
    lines = [line for text in texts for line in (f"data: {text}", "")]

    # A line that is no more than white space to `str.rstrip("\r\n")` stays as it is.
    assert list(parse_events(lines)) == texts
