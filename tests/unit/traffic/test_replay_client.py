"""Records sent to the stub engine, and to transports that fail."""

from __future__ import annotations

import asyncio
import json
import signal

import httpx2
import pytest

from stack.checks.near_tie import compare_greedy
from stack.traffic import replay_client
from stack.traffic.comparison import compare
from stack.traffic.record import Record
from stack.traffic.record_file import load_builtin_records
from stack.traffic.replay_client import ReplayState, ReplayTarget, replay
from stack.traffic.schedule import build_schedule

URL = "http://engine"


def build(name="a", url="/v1/completions", offset=None, hang_up=None, **body):
    return Record(name, "POST", url, {"prompt": "x", "temperature": 0, **body}, offset, hang_up)


def ask(question, **body):
    messages = [{"role": "user", "content": question}]
    return Record(question, "POST", "/v1/chat/completions", {"messages": messages, "temperature": 0, **body})


def answer(text="y"):
    choice = {"index": 0, "text": text, "finish_reason": "stop"}
    return {"id": "c", "choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}


def run(respond, *records, target=None, **options):
    """Replay over a transport that answers by a function."""
    transport = httpx2.MockTransport(respond)
    return replay(target or ReplayTarget(URL, asks_scores=False), records, transport=transport, **options)


def one(respond, record=None, **options):
    (found,) = run(respond, record or build(), **options)
    return found.response


def raising(error):
    def respond(request):
        raise error

    return respond


def test_a_body_arrives_as_it_was_recorded_with_the_key():
    seen = []

    def respond(request):
        seen.append(request)
        return httpx2.Response(200, json=answer())

    body = {"z": [1.0, 1, 10**25], "prompt": 'ünï "$x" \u2028', "temperature": 0}
    run(respond, Record("a", "POST", "/v1/completions", body), target=ReplayTarget(URL, "key\n", asks_scores=False))
    assert json.dumps(json.loads(seen[0].content)) == json.dumps(body)
    assert (seen[0].url, seen[0].headers["Authorization"]) == (f"{URL}/v1/completions", "Bearer key")
    assert "key" not in repr(ReplayTarget(URL, "key"))


def test_a_stream_is_timed_and_folded(start_engine):
    record = ask("What is the capital of Germany?", stream=True)
    (found,) = replay(ReplayTarget(start_engine().url), [record])
    response = found.response
    assert (response.text, response.finish_reason, response.error) == ("The capital of Germany is Berlin.", "stop", "")
    assert 0 < response.ttft_seconds <= response.duration_seconds
    assert len(found.itl_seconds) == response.answers[0].usage.completion_tokens - 1
    assert response.itl_seconds == pytest.approx(sum(found.itl_seconds) / len(found.itl_seconds))


def test_two_runs_of_the_built_in_set_are_equal_whatever_the_concurrency(start_engine):
    records = load_builtin_records()
    target = ReplayTarget(start_engine().url)
    first = replay(target, records)
    second = replay(target, records, schedule=build_schedule([None] * 12, concurrency=6))
    assert [found.custom_id for found in second] == [record.custom_id for record in records]
    report = compare(records, [f.response for f in first], [f.response for f in second], compare_greedy)
    assert report.counts["equal"] == 12


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ("undecided", "undecided-other", "near tie"),
        (None, "wrong-answers", "differs"),
        (None, "unavailable", "differs"),
        (None, "wrong-usage", "differs"),
        (None, "no-done", "failed"),
    ],
)
def test_an_engine_that_answers_otherwise_is_found_out(start_engine, before, after, verdict):
    engine = start_engine(*(["--misbehave", before] if before else []))
    records = [ask("What is the capital of Japan?", stream=True)]
    then = replay(ReplayTarget(engine.url), records)
    engine.misbehave(after)
    now = replay(ReplayTarget(engine.url), records)
    (found,) = compare(records, [then[0].response], [now[0].response], compare_greedy).comparisons
    assert found.verdict == verdict
    if verdict == "near tie":
        assert (found.token_index, round(found.gap_nats, 2)) == (5, 0.04)


def test_an_engine_that_refuses_scores_is_asked_again_without():
    seen = []

    def respond(request):
        asked = json.loads(request.content)
        seen.append(asked)
        return httpx2.Response(400 if "logprobs" in asked else 200, json=answer())

    (found,) = run(respond, build(), target=ReplayTarget(URL))
    assert (found.response.status, found.is_plain, len(seen)) == (200, True, 2)
    assert seen[1] == build().body


def test_names_that_were_replaced_are_counted():
    state = ReplayState()
    target = ReplayTarget(URL, served_model="demo", known_models=frozenset({"demo"}))
    run(lambda request: httpx2.Response(200, json=answer()), build(model="prod"), build("b", model="demo"),
        target=target, state=state)  # fmt: skip
    assert (dict(state.renamed), state.sent, state.ended, state.total) == ({"prod": 1}, 2, 2, 2)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (httpx2.ConnectError("refused"), "nothing listens there"),
        (httpx2.ReadError("reset"), "the connection broke (ReadError)"),
    ],
)
def test_an_engine_that_is_gone_gives_no_answer(error, said):
    response = one(raising(error))
    assert (response.status, response.error, response.error_message) == (None, "no-answer", said)


def test_an_answer_that_is_none_is_unreadable_and_a_refusal_may_be_a_page():
    assert one(lambda request: httpx2.Response(200, text="<html>")).error == "unreadable"
    assert one(lambda request: httpx2.Response(200, json={"choices": []})).error == "unreadable"
    assert one(lambda request: httpx2.Response(200, text='{"choices": NaN}')).error == "unreadable"
    refused = one(lambda request: httpx2.Response(502, text="<html>"))
    assert (refused.status, refused.error, refused.body) == (502, "", None)


def stream(*events, end="data: [DONE]\n\n"):
    text = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + end
    return lambda request: httpx2.Response(200, text=text, headers={"Content-Type": "text/event-stream"})


def test_a_stream_without_its_end_or_with_an_error_broke_off_and_what_came_is_kept():
    chunk = {"choices": [{"index": 0, "text": "half"}]}
    cut = one(stream(chunk, end=""), build(stream=True))
    told = one(stream(chunk, {"error": {"message": "out of memory"}}), build(stream=True))
    assert (cut.error, cut.text, told.error, told.error_message) == (
        "broken-off",
        "half",
        "broken-off",
        "out of memory",
    )
    assert one(stream({"no": "chunk"}), build(stream=True)).error == "unreadable"


def test_a_client_that_hung_up_hangs_up_again(start_engine):
    engine = start_engine("--step-seconds", "0.05")
    record = build("a", hang_up=0.4, stream=True, max_tokens=500, prompt="The harbour was quiet", ignore_eos=True)
    (found,) = replay(ReplayTarget(engine.url), [record])
    assert (found.response.status, found.response.error, found.response.is_broken) == (200, "hung-up", False)
    assert found.response.text
    assert found.response.finish_reason is None


def test_an_answer_that_takes_too_long_is_given_up(start_engine):
    engine = start_engine("--misbehave", "hang")
    (found,) = replay(ReplayTarget(engine.url, timeout_seconds=0.2), [build()])
    assert (found.response.status, found.response.error) == (None, "timed-out")


def test_records_are_sent_when_they_are_due_and_lag_is_told():
    now, slept = [100.0], []

    async def sleep(seconds):
        slept.append(seconds)
        await asyncio.sleep(0)
        now[0] += seconds + 0.25

    records = [build("a", offset=50.0), build("b", offset=52.0), build("c", offset=51.0)]
    found = run(
        lambda request: httpx2.Response(200, json=answer()),
        *records,
        schedule=build_schedule([50.0, 52.0, 51.0], speed=2),
        clock=lambda: now[0],
        sleep=sleep,
    )
    assert slept == [0.0, 0.25, 0.25]
    assert [(one.custom_id, one.due_seconds, one.lag_seconds) for one in found] == [
        ("a", 0.0, 0.25), ("b", 1.0, 0.25), ("c", 0.5, 0.25),
    ]  # fmt: skip


@pytest.mark.parametrize("concurrency", [1, 3, 8])
def test_no_more_than_the_concurrency_are_under_way(concurrency):
    running, most = [0], [0]

    async def respond(request):
        running[0] += 1
        most[0] = max(most[0], running[0])
        for _ in range(20):
            await asyncio.sleep(0)
        running[0] -= 1
        return httpx2.Response(200, json=answer())

    records = [build(str(number)) for number in range(20)]
    found = run(respond, *records, schedule=build_schedule([None] * 20, concurrency=concurrency))
    assert (len(found), most[0]) == (20, concurrency)


def test_what_is_due_beyond_the_room_there_is_waits(monkeypatch):
    monkeypatch.setattr(replay_client, "MAX_IN_FLIGHT", 2)
    running, most = [0], [0]

    async def respond(request):
        running[0] += 1
        most[0] = max(most[0], running[0])
        await asyncio.sleep(0.01)
        running[0] -= 1
        return httpx2.Response(200, json=answer())

    found = run(respond, *(build(str(number), offset=0.0) for number in range(6)))
    assert (len(found), most[0]) == (6, 2)


@pytest.mark.parametrize("offset", [None, 0.0])
def test_an_engine_that_is_gone_ends_the_replay(offset):
    state = ReplayState()
    records = [build(str(number), offset=offset) for number in range(100)]
    found = run(raising(httpx2.ConnectError("refused")), *records, state=state)
    assert state.gave_up
    assert replay_client.GIVE_UP_AFTER <= len(found) < 100


def test_a_failure_of_who_takes_the_answers_comes_out_as_it_is():
    def take(record, found):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run(lambda request: httpx2.Response(200, json=answer()), build(), take=take)


def test_an_interrupt_ends_the_replay_and_what_came_was_taken():
    taken = []

    async def respond(request):
        if taken:
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(60)
        return httpx2.Response(200, json=answer())

    with pytest.raises(KeyboardInterrupt):
        run(respond, build("a"), build("b"), take=lambda record, found: taken.append(found))
    assert [found.custom_id for found in taken] == ["a"]
