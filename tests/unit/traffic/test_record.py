"""What a record says about itself."""

from __future__ import annotations

import pytest

from stack.traffic.record import Record, RecordedResponse, find_first_scored, parse_answers


def build(**body):
    return Record("a", "POST", "/v1/chat/completions", body)


@pytest.mark.parametrize(
    ("body", "is_greedy", "is_repeatable"),
    [
        ({"temperature": 0}, True, True),
        ({"temperature": 1e-6}, True, True),
        ({"temperature": 0.7, "top_k": 1}, True, True),
        ({"temperature": 0.7}, False, False),
        ({"temperature": 0.7, "seed": 0}, False, True),
        # What an engine does then is the model's own habit, often to sample.
        ({}, False, False),
        ({"temperature": None}, False, False),
        ({"use_beam_search": True, "temperature": 1}, True, True),
    ],
)
def test_a_record_tells_whether_its_text_must_come_again(body, is_greedy, is_repeatable):
    record = build(**body)
    assert (record.is_greedy, record.is_repeatable) == (is_greedy, is_repeatable)


def test_the_names_of_scored_tokens_are_ids_texts_or_none():
    chat = {"choices": [{"logprobs": {"content": [{"token": "token_id:7", "logprob": -1}]}}]}
    text = {"choices": [{"logprobs": {"tokens": ["Paris"]}}]}
    assert find_first_scored(chat) == "token_id:7"
    assert RecordedResponse(200, chat).names_tokens_by_id is True
    assert RecordedResponse(200, text).names_tokens_by_id is False
    assert RecordedResponse(200, {"choices": [{"logprobs": None}]}).names_tokens_by_id is None
    assert RecordedResponse(500, "no").names_tokens_by_id is None


def test_a_refusal_and_another_route_have_no_answers():
    assert parse_answers("/v1/chat/completions", 400, {"error": {}}) == ()
    assert parse_answers("/v1/embeddings", 200, {"data": []}) == ()


def test_functions_that_were_called_are_part_of_an_answer():
    call = {"id": "x", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    (answer,) = parse_answers("/v1/chat/completions", 200, {"choices": [choice]})
    assert (answer.text, answer.tool_calls) == ("", (("add", '{"a":1}'),))
