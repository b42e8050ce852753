"""Reading vLLM's JSON."""

from __future__ import annotations

import pytest

from stack.traffic.engine_wire import (
    parse_chats,
    parse_completions,
    parse_error_message,
    parse_models,
    parse_stream_chunk,
)


def test_prompt_log_probabilities_are_matched_by_the_prompts_token_ids():
    # As vLLM 0.32 answers: the first position is null, the likeliest token stands beside the prompt's own.
    positions = [None, {"29": {"logprob": -0.8, "rank": 1}, "3575": {"logprob": -11.7, "rank": 6000}}]
    choice = {"index": 0, "text": "x", "prompt_logprobs": positions, "prompt_token_ids": [504, 3575]}

    first, second = parse_completions({"choices": [choice]})[0].prompt_tokens

    assert first is None
    assert (second.token, second.logprob) == ("3575", -11.7)
    assert second.top == {"29": -0.8, "3575": -11.7}


def test_without_token_ids_the_first_of_each_position_is_the_prompts_own():
    positions = [None, {"3575": {"logprob": -11.7}, "29": {"logprob": -0.8}}]

    answer = parse_completions({"choices": [{"index": 0, "text": "x", "prompt_logprobs": positions}]})[0]

    assert answer.prompt_tokens[1].token == "3575"


def test_tokens_told_as_ids_are_ids():
    logprobs = {
        "tokens": ["token_id:7042"],
        "token_logprobs": [-0.4],
        "top_logprobs": [{"token_id:7042": -0.4, "token_id:9": -2.0}],
    }

    answer = parse_completions({"choices": [{"index": 0, "text": "x", "logprobs": logprobs}]})[0]

    assert answer.tokens[0].token == "7042"
    assert answer.tokens[0].top == {"7042": -0.4, "9": -2.0}


def test_usage_is_counted_once_for_many_prompts():
    choices = [{"index": 0, "text": "a"}, {"index": 1, "text": "b"}]
    answers = parse_completions({"choices": choices, "usage": {"prompt_tokens": 4, "completion_tokens": 2}})

    assert answers[0].usage.prompt_tokens == 4
    assert answers[1].usage is None


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_reasoning_is_read_under_both_of_its_names(field):
    message = {"role": "assistant", "content": None, field: "let me think"}

    answer = parse_chats({"choices": [{"index": 0, "message": message}]})[0]

    assert (answer.text, answer.reasoning) == ("", "let me think")


@pytest.mark.parametrize("document", [None, [], {}, {"choices": [{}]}, {"choices": [3]}, "text"])
@pytest.mark.parametrize("parse", [parse_completions, parse_chats])
def test_another_shape_is_a_value_error(parse, document):
    with pytest.raises(ValueError, match="not a"):
        parse(document)


def test_models_of_another_shape_are_a_value_error():
    with pytest.raises(ValueError, match="not a list"):
        parse_models({"data": [{"name": "x"}]})


@pytest.mark.parametrize("document", [None, [], {}, {"choices": [3]}])
def test_a_chunk_of_another_shape_is_a_value_error(document):
    with pytest.raises(ValueError, match="not a chunk"):
        parse_stream_chunk(document, 0.0)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"error": {"message": "no"}}', "no"),
        ('{"error": "Unauthorized"}', "Unauthorized"),
        ('{"detail": "Not Found"}', "Not Found"),
        ("plain words", "plain words"),
        ("[1]", "[1]"),
    ],
)
def test_the_message_of_an_error_is_found(body, message):
    assert parse_error_message(body) == message
