"""Chunks of a stream become the document of the same answer unstreamed."""

from __future__ import annotations

import pytest

from stack.traffic.record import parse_answers
from stack.traffic.replay_fold import StreamFold


def fold(*chunks):
    folded = StreamFold()
    brought = [folded.take(chunk) for chunk in chunks]
    return folded, brought


def test_a_chat_is_folded_with_its_scores_and_counts():
    def chunk(delta, **more):
        return {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, **more}]}

    def scored(token):
        return {"content": [{"token": token, "logprob": -0.5, "top_logprobs": []}]}

    folded, brought = fold(
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "Ber"}, logprobs=scored("Ber")),
        chunk({"content": "lin"}, logprobs=scored("lin")),
        chunk({}, finish_reason="stop"),
        {"id": "c", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
    )
    assert brought == [False, True, True, False, False]
    document = folded.build_document()
    assert document["object"] == "chat.completion"
    (answer,) = parse_answers("/v1/chat/completions", 200, document)
    assert (answer.text, answer.finish_reason, answer.usage.completion_tokens) == ("Berlin", "stop", 2)
    assert [token.token for token in answer.tokens] == ["Ber", "lin"]


def test_choices_that_come_mixed_are_kept_apart():
    def chunk(index, text, reason=None):
        return {"choices": [{"index": index, "text": text, "finish_reason": reason}]}

    folded, _ = fold(chunk(1, "x"), chunk(0, "a"), chunk(1, "y", "stop"), chunk(0, "b", "length"))
    answers = parse_answers("/v1/completions", 200, folded.build_document())
    assert [(answer.text, answer.finish_reason) for answer in answers] == [("ab", "length"), ("xy", "stop")]


def test_functions_are_put_together_by_their_index():
    def chunk(**call):
        return {"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}

    folded, brought = fold(
        chunk(index=0, id="1", function={"name": "add", "arguments": ""}),
        chunk(index=1, id="2", function={"name": "sub", "arguments": "{"}),
        chunk(index=0, function={"arguments": '{"a":1}'}),
        chunk(index=1, function={"arguments": "}"}),
    )
    assert all(brought)
    (answer,) = parse_answers("/v1/chat/completions", 200, folded.build_document())
    assert answer.tool_calls == (("add", '{"a":1}'), ("sub", "{}"))


def test_reasoning_is_kept_beside_the_text():
    folded, _ = fold(
        *({"choices": [{"index": 0, "delta": delta}]} for delta in ({"reasoning": "hm"}, {"content": "y"}))
    )
    (answer,) = parse_answers("/v1/chat/completions", 200, folded.build_document())
    assert (answer.reasoning, answer.text) == ("hm", "y")


def test_an_error_in_the_midst_is_kept():
    folded, _ = fold({"choices": [{"index": 0, "text": "a"}]}, {"error": {"message": "it broke"}})
    assert folded.error == "it broke"
    assert folded.build_document()["choices"][0]["text"] == "a"


@pytest.mark.parametrize("chunk", [[], "x", {}, {"choices": [1]}, {"choices": [{"index": 0}]}])
def test_what_is_no_chunk_is_refused(chunk):
    with pytest.raises(ValueError, match="not a chunk of a stream"):
        StreamFold().take(chunk)
