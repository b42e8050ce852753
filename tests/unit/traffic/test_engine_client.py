"""The engine client against recorded and made-up answers."""

from __future__ import annotations

import json

import httpx2
import pytest

from stack.errors import ServiceApiError
from stack.traffic.engine_answers import Usage
from stack.traffic.engine_client import EngineClient
from stack.traffic.engine_http import EngineApiError, build_http_client

BASE = "http://127.0.0.1:8000"
CARD = {"id": "demo", "root": "/models/demo", "max_model_len": 8192}
COMPLETION = {
    "id": "cmpl-1",
    "choices": [
        {
            "index": 0,
            "text": " Paris",
            "finish_reason": "length",
            "token_ids": [7042],
            "prompt_token_ids": [504, 282],
        }
    ],
    "usage": {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3},
}


def build_client(answer, **options):
    """A client whose every request is noted and answered by `answer(request)`."""
    seen = []

    def handle(request):
        seen.append(request)
        return answer(request)

    ticks = iter(range(1000))
    http = httpx2.Client(transport=httpx2.MockTransport(handle))
    client = EngineClient(http, BASE + "/", clock=lambda: float(next(ticks)), **options)
    return client, seen


def always(document, status=200):
    return lambda request: httpx2.Response(status, json=document)


def stream_of(*events):
    lines = "".join(f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n" for event in events)
    return lambda request: httpx2.Response(200, text=lines, headers={"Content-Type": "text/event-stream"})


def sent(request):
    return json.loads(request.content)


def test_the_models_are_read_with_their_context_length():
    client, _ = build_client(always({"data": [CARD]}))

    assert [(card.id, card.max_model_len) for card in client.fetch_models()] == [("demo", 8192)]


def test_the_served_name_is_asked_for_once_when_none_is_given():
    client, seen = build_client(always({"data": [CARD]}))

    assert (client.model, client.model) == ("demo", "demo")
    assert [request.url.path for request in seen] == ["/v1/models"]


def test_an_engine_that_serves_nothing_is_an_error():
    client, _ = build_client(always({"data": []}))

    with pytest.raises(EngineApiError, match="serves no model"):
        _ = client.model


def test_a_completion_is_greedy_unless_told_otherwise():
    client, seen = build_client(always(COMPLETION), model="demo")

    answer = client.run_completion("The capital of France is", max_tokens=1)

    assert sent(seen[0]) == {
        "model": "demo",
        "prompt": "The capital of France is",
        "temperature": 0.0,
        "max_tokens": 1,
    }
    assert (answer.text, answer.finish_reason, answer.usage) == (" Paris", "length", Usage(2, 1))
    assert answer.duration_seconds == 1.0


def test_scores_are_asked_for_with_token_ids():
    client, seen = build_client(always(COMPLETION), model="demo")

    client.run_completion([504, 282], prompt_logprobs=1)

    assert sent(seen[0])["return_token_ids"] is True
    assert sent(seen[0])["return_tokens_as_token_ids"] is True


def test_several_prompts_go_in_one_request_and_come_back_in_order():
    choices = [{"index": 1, "text": "b"}, {"index": 0, "text": "a"}]
    client, seen = build_client(always({"choices": choices}), model="demo")

    answers = client.run_completions(["one", "two"])

    assert sent(seen[0])["prompt"] == ["one", "two"]
    assert [answer.text for answer in answers] == ["a", "b"]


def test_the_key_goes_with_every_request_and_can_be_left_out_or_replaced():
    client, seen = build_client(always({"version": "0.32.0"}), api_key="sesame\n")

    client.fetch_version()
    client.fetch_raw("GET", "/version", use_key=False)
    client.fetch_raw("GET", "/version", api_key="other")

    told = [request.headers.get("Authorization") for request in seen]
    assert told == ["Bearer sesame", None, "Bearer other"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"message": "max_tokens must be at least 1"}}, "max_tokens must be at least 1"),
        ({"error": "Unauthorized"}, "Unauthorized"),
        ({"detail": "Not Found"}, "Not Found"),
    ],
)
def test_an_error_status_becomes_an_error_with_the_engines_own_words(body, message):
    client, _ = build_client(always(body, 400), model="demo")

    with pytest.raises(ServiceApiError, match=message) as caught:
        client.run_completion("x")

    assert caught.value.status_code == 400
    assert caught.value.url == f"{BASE}/v1/completions"
    assert caught.value.hint


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (httpx2.ConnectError("refused"), "nothing listens"),
        (httpx2.ReadTimeout("slow"), "no answer in time"),
        (httpx2.RemoteProtocolError("gone"), "the connection broke"),
    ],
)
def test_no_answer_at_all_is_told_in_words(failure, words):
    def fail(request):
        raise failure

    client, _ = build_client(fail, model="demo")

    with pytest.raises(EngineApiError, match=words) as caught:
        client.run_completion("x")
    assert caught.value.status_code is None
    with pytest.raises(EngineApiError, match=words):
        list(client.stream_completion("x"))


@pytest.mark.parametrize("text", ["<html>", '{"choices": 3}', "{}", '{"choices": []}'])
def test_an_answer_of_another_shape_is_an_error_that_shows_it(text):
    client, _ = build_client(lambda request: httpx2.Response(200, text=text), model="demo")

    with pytest.raises(EngineApiError):
        client.run_completion("x")


def test_a_stream_gives_a_chunk_for_each_event_with_its_time():
    def chunk(content, **rest):
        logprobs = {"content": [{"token": "token_id:5", "logprob": -0.5, "top_logprobs": []}]}
        choice = {"index": 0, "delta": {"content": content}, "logprobs": logprobs, "token_ids": [5], **rest}
        return {"id": "chat-1", "choices": [choice]}

    usage = {"id": "chat-1", "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}}
    first = {"id": "chat-1", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}
    events = [first, chunk("Ber"), chunk("lin", finish_reason="stop"), usage, "[DONE]"]
    client, seen = build_client(stream_of(*events), model="demo")

    chunks = list(client.stream_chat([{"role": "user", "content": "?"}], top_logprobs=1))

    assert sent(seen[0])["stream_options"] == {"include_usage": True}
    assert [chunk.text for chunk in chunks] == ["", "Ber", "lin", "", ""]
    assert [chunk.finish_reason for chunk in chunks] == [None, None, "stop", None, None]
    assert [chunk.usage for chunk in chunks] == [None, None, None, Usage(7, 2), None]
    assert [chunk.token_ids for chunk in chunks] == [(), (5,), (5,), (), ()]
    assert [token.token for chunk in chunks for token in chunk.tokens] == ["5", "5"]
    assert [chunk.is_done for chunk in chunks] == [False, False, False, False, True]
    # The clock ticks once at the start and once an event.
    assert [chunk.at_seconds for chunk in chunks] == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_a_stream_that_is_cut_off_has_no_done():
    client, _ = build_client(stream_of({"choices": [{"index": 0, "text": "a"}]}), model="demo")

    [chunk] = client.stream_completion("x")

    assert (chunk.text, chunk.is_done, chunk.finish_reason) == ("a", False, None)


def test_an_error_in_the_midst_of_a_stream_is_raised():
    events = [{"choices": [{"index": 0, "text": "a"}]}, {"error": {"message": "engine is dead"}}]
    client, _ = build_client(stream_of(*events), model="demo")

    with pytest.raises(EngineApiError, match="engine is dead"):
        list(client.stream_completion("x"))


def test_a_stream_that_is_refused_tells_the_message():
    client, _ = build_client(always({"error": {"message": "too long"}}, 400), model="demo")

    with pytest.raises(EngineApiError, match="too long"):
        list(client.stream_completion("x"))


def test_a_first_token_gives_seconds():
    client, seen = build_client(always(COMPLETION), model="demo")

    found = client.probe_first_token()

    assert found.seconds is not None
    assert sent(seen[0])["max_tokens"] == 1


def test_no_first_token_gives_the_reason_and_never_raises():
    client, _ = build_client(always({"error": {"message": "loading"}}, 503), model="demo")
    assert client.probe_first_token().seconds is None
    assert "loading" in client.probe_first_token().reason

    empty = {**COMPLETION, "usage": {"prompt_tokens": 2, "completion_tokens": 0}}
    client, _ = build_client(always(empty), model="demo")
    assert client.probe_first_token().seconds is None


def test_a_pooling_model_is_ready_when_it_gives_a_vector():
    client, seen = build_client(always({"data": [{"index": 0, "embedding": [1.0]}]}), model="demo")

    assert client.probe_first_token(is_pooling=True).seconds is not None
    assert seen[0].url.path == "/v1/embeddings"


def test_embeddings_come_in_the_order_of_the_texts():
    rows = [{"index": 1, "embedding": [2]}, {"index": 0, "embedding": [1]}]
    client, _ = build_client(always({"data": rows}), model="demo")

    assert client.fetch_embeddings(["a", "b"]) == [[1.0], [2.0]]


def test_a_chat_is_tokenized_through_its_template():
    client, seen = build_client(always({"tokens": [1, 2]}), model="demo")

    assert client.fetch_chat_tokens([{"role": "user", "content": "?"}], add_generation_prompt=False) == [1, 2]
    assert sent(seen[0])["add_generation_prompt"] is False


def test_metrics_are_given_as_text():
    client, _ = build_client(lambda request: httpx2.Response(200, text="vllm:x 1\n"))

    assert client.fetch_metrics() == "vllm:x 1\n"


def test_the_http_client_takes_no_proxy_from_the_environment(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:3128")

    with build_http_client() as http:
        assert http.trust_env is False
