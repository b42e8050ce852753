"""A line becomes a record, a record a line, and a bad line says what is wrong with it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.traffic.record import Record, RecordedResponse
from stack.traffic.record_line import LineError, parse_document, parse_record, render_record

LINE = {"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": {"prompt": "x"}}
COMPLETION = {"id": "cmpl-1", "choices": [{"index": 0, "text": "y", "finish_reason": "stop"}], "usage": None}

names = st.text(min_size=1, max_size=8)
numbers = st.floats(-1e9, 1e9, allow_nan=False)
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
times = st.none() | st.floats(0, 1e6).map(lambda value: round(value, 6))
responses = st.builds(
    RecordedResponse,
    status=st.sampled_from([400, 404, 500, 503]),
    body=documents,
    error=st.sampled_from(["", "hung-up", "broken-off"]),
    duration_seconds=times,
    ttft_seconds=times,
    itl_seconds=times,
)
records = st.builds(
    Record,
    custom_id=names,
    method=st.just("POST"),
    url=st.sampled_from(["/v1/completions", "/v1/chat/completions", "/v1/embeddings"]),
    body=st.dictionaries(names, documents, min_size=1, max_size=3),
    offset_seconds=st.none() | numbers,
    hang_up_seconds=st.none() | st.floats(0.001, 100),
    response=st.none() | responses,
)


def parse(line):
    return parse_record(parse_document(line))


@given(records)
def test_what_is_written_is_read_again(record):
    line = render_record(record, record.response)
    assert "\n" not in line
    assert parse(line) == record


@given(st.text(max_size=200) | documents.map(json.dumps))
def test_any_line_is_a_record_or_says_what_is_wrong(line):
    try:
        parse(line)
    except LineError as err:
        assert str(err)


def test_a_line_of_openai_s_batch_with_its_answer_is_read():
    answer = {"status_code": 200, "request_id": "r", "body": COMPLETION}
    record = parse(json.dumps({**LINE, "id": "b", "response": answer, "error": None, "offset_seconds": 1.5}))
    assert (record.custom_id, record.offset_seconds, record.response.status) == ("a", 1.5, 200)
    assert (record.response.text, record.response.finish_reason) == ("y", "stop")


def test_a_request_that_had_no_answer_is_read():
    record = parse(json.dumps({**LINE, "response": None, "error": {"code": "no-answer", "message": "gone"}}))
    assert (record.response.status, record.response.error, record.response.is_broken) == (None, "no-answer", True)


def test_the_body_stays_what_it_was():
    body = {"z": 1, "a": [1.0, 1, 12345678901234567890123, "\ud800", "\u2028"], "model": None}
    assert json.dumps(parse(json.dumps({**LINE, "body": body})).body) == json.dumps(body)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"custom_id": None}, "`custom_id` must be a text"),
        ({"custom_id": ""}, "`custom_id` must be a text"),
        ({"method": "GET"}, "`method` must be `POST`"),
        ({"url": "http://elsewhere/v1/completions"}, "`url` is no route"),
        ({"url": "/v1/load_lora_adapter"}, "`url` is no route"),
        ({"url": []}, "`url` is no route"),
        ({"body": []}, "`body` must be an object"),
        ({"body": {}}, "`body` must be an object"),
        ({"offset_seconds": "1"}, "`offset_seconds` must be a number of seconds"),
        ({"offset_seconds": True}, "`offset_seconds` must be a number of seconds"),
        ({"offset_seconds": 10**400}, "`offset_seconds` must be a number of seconds"),
        ({"hang_up_seconds": 0}, "`hang_up_seconds` must be above 0"),
        ({"response": []}, "`response` must be an object with a `status_code`"),
        ({"response": {"status_code": "200"}}, "`response` must be an object with a `status_code`"),
        ({"response": {"status_code": 200, "body": {"choices": 5}}}, "`response.body` is not what this route"),
        ({"response": {"status_code": 200}}, "`response.body` is not what this route"),
        ({"error": "no"}, "`error` must be an object"),
        ({"response": {"status_code": 500}, "timing": []}, "`timing` must be an object"),
        ({"response": {"status_code": 500}, "timing": {"ttft_seconds": "x"}}, "`ttft_seconds` must be a number"),
    ],
)
def test_a_bad_line_says_what_is_wrong(change, said):
    with pytest.raises(LineError) as caught:
        parse(json.dumps({**LINE, **change}))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "no JSON (column 2)"),
        ("[1]", "no JSON object"),
        ('{"a": NaN}', "`NaN` is no JSON"),
        ('{"a": 1e999}', "a number is too large"),
        ('{"a": ' + "9" * 5000 + "}", "no JSON"),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_what_is_no_json_is_refused(line, said):
    with pytest.raises(LineError) as caught:
        parse_document(line)
    assert said in str(caught.value)


def test_everything_wrong_with_a_line_is_said_and_nothing_of_what_stands_in_it():
    with pytest.raises(LineError) as caught:
        parse(json.dumps({"custom_id": 1, "method": "GET", "url": "/secret", "body": "secret"}))
    assert str(caught.value).count(";") == 3
    assert "secret" not in str(caught.value)
