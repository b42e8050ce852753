"""Server-sent events."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stack.traffic.sse import EventReader, parse_events


def test_each_event_is_given_when_its_blank_line_comes():
    parts = iter([b"data: one\n", b"\n", b"data: two\n"])
    events = parse_events(parts)

    assert next(events) == "one"
    assert next(parts) == b"data: two\n"


def test_keep_alives_and_other_fields_are_passed_over():
    assert list(parse_events([b": ping\n\nevent: message\nid: 7\ndata: one\nretry: 3\n\n"])) == ["one"]


def test_data_of_several_lines_is_one_event():
    assert list(parse_events([b"data: a\ndata:b\n\n"])) == ["a\nb"]


def test_an_event_that_was_cut_off_is_still_given():
    assert list(parse_events([b"data: half"])) == ["half"]


def test_lines_may_end_with_a_carriage_return_and_a_line_feed():
    assert list(parse_events([b"data: one\r", b"\n\r\ndata: two\r\n\r\n"])) == ["one", "two"]


def test_a_line_separator_inside_an_answer_ends_no_line():
    assert list(parse_events(['data: {"text": "a\u2028b\x85c"}\n\n'.encode()])) == ['{"text": "a\u2028b\x85c"}']


@given(
    st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1), max_size=5),
    st.integers(1, 9),
)
def test_what_was_written_is_read_however_it_is_cut(texts, size):
    sent = "".join(f"data: {text}\n\n" for text in texts).encode()
    reader = EventReader()
    events = [event for start in range(0, len(sent), size) for event in reader.feed(sent[start : start + size])]

    assert [*events, *reader.close()] == texts
