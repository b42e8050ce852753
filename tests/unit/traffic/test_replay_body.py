"""What is sent for a record, and what never changes in it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stack.traffic.record import Record, RecordedResponse
from stack.traffic.record_line import parse_record
from stack.traffic.replay_body import build_sending

CHAT, COMPLETION = "/v1/chat/completions", "/v1/completions"


def build(url=CHAT, response=None, **body):
    return Record("a", "POST", url, {"temperature": 0, **body}, response=response)


def recorded(url, choice):
    line = {"custom_id": "a", "method": "POST", "url": url, "body": {"x": 1}}
    body = {"choices": [{"index": 0, "finish_reason": "stop", **choice}]}
    return parse_record({**line, "response": {"status_code": 200, "body": body}}).response


@given(
    st.dictionaries(st.sampled_from(["model", "stream", "logprobs", "temperature", "x"]), st.booleans() | st.integers())
)
def test_without_a_name_and_without_scores_the_body_is_sent_as_it_is(body):
    sending = build_sending(Record("a", "POST", CHAT, body), asks_scores=False)
    assert (sending.body, sending.plain, sending.renamed) == (body, None, None)


def test_only_a_name_that_is_not_served_is_replaced():
    def send(record):
        sending = build_sending(record, served_model="demo", known_models={"demo", "lora"}, asks_scores=False)
        return sending.body.get("model"), sending.renamed

    assert send(build(model="prod")) == ("demo", "prod")
    assert send(build(model="lora")) == ("lora", None)
    assert send(build(model="demo")) == ("demo", None)
    assert send(build()) == (None, None)
    # There the refusal is what is compared.
    assert send(build(model="prod", response=RecordedResponse(404))) == ("prod", None)


def test_scores_are_asked_for_where_the_answer_is_greedy():
    chat = build_sending(build())
    assert chat.body == {
        "temperature": 0, "logprobs": True, "top_logprobs": 5, "return_tokens_as_token_ids": True,
    }  # fmt: skip
    assert chat.plain == {"temperature": 0}
    assert build_sending(build(COMPLETION)).body["logprobs"] == 5


def test_scores_are_not_asked_for_where_that_changes_the_request_or_tells_nothing():
    for record in (
        build(logprobs=True),
        build(COMPLETION, logprobs=0),
        build(COMPLETION, prompt_logprobs=1),
        build(COMPLETION, echo=True),
        build(COMPLETION, use_beam_search=True),
        build(temperature=0.5),
        build(temperature=0.5, seed=1),
        build("/v1/embeddings"),
        build("/v1/chat/completions/batch"),
    ):
        assert build_sending(record).plain is None, record


def test_a_stream_is_asked_for_its_token_counts_unless_it_says_otherwise():
    assert build_sending(build(stream=True, temperature=1)).body["stream_options"] == {"include_usage": True}
    own = {"include_usage": False}
    assert build_sending(build(stream=True, temperature=1, stream_options=own)).body["stream_options"] == own


def test_tokens_are_named_as_the_recorded_answer_names_them():
    def names_ids(url, choice):
        return "return_tokens_as_token_ids" in build_sending(build(url, recorded(url, choice))).body

    scored = {"tokens": ["token_id:5"], "token_logprobs": [-1.0]}
    assert names_ids(COMPLETION, {"text": "x", "logprobs": scored})
    assert not names_ids(COMPLETION, {"text": "x", "logprobs": {**scored, "tokens": ["x"]}})
    assert not names_ids(COMPLETION, {"text": "x"})
    assert names_ids(COMPLETION, {"text": "x", "logprobs": scored})
    assert build_sending(build(COMPLETION, RecordedResponse(500))).body["return_tokens_as_token_ids"] is True
