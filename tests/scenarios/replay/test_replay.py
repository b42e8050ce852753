"""Recorded requests must come out equal on an engine that did not change, and otherwise be told from it."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.scenarios.engine import count_requests, misbehave
from tests.scenarios.harness import Stack, eventually, start
from tests.scenarios.projects import render_config

QUESTIONS = {
    "japan": "What is the capital of Japan?",
    "bees": "What do bees make?",
    "hot": "What is the opposite of hot?",
    "count": "How do you count?",
}


def build_line(name: str, question: str, **more: Any) -> dict[str, Any]:
    body = {"model": "production", "messages": [{"role": "user", "content": question}], "temperature": 0}
    body |= more.pop("body", {})
    return {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body, **more}


@pytest.fixture(scope="module")
def stack(make_stack: Callable[..., Stack], fake_engine: str) -> Stack:
    stack = make_stack("replay", render_config(fake_engine, "--step-seconds 0.02"))
    stack.run("up", "--no-smoke").demand()
    return stack


@pytest.fixture(scope="module")
def url(stack: Stack) -> str:
    return stack.url("engine")


@pytest.fixture
def ill(stack: Stack) -> Iterator[None]:
    """An engine that the test makes misbehave, and that is well again after it."""
    yield
    eventually(lambda: misbehave(stack) is None, "an engine that answers")


@pytest.fixture(scope="module")
def write(stack: Stack) -> Callable[..., str]:
    def call(name: str, *lines: Any) -> str:
        (stack.folder / name).write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        return name

    return call


@pytest.fixture(scope="module")
def recorded(stack: Stack, write: Callable[..., str]) -> str:
    """What the engine answered at first, streamed and not, with arrivals; and one whose client hung up."""
    lines = [
        build_line(name, question, offset_seconds=place / 10, body={"stream": place % 2 == 0})
        for place, (name, question) in enumerate(QUESTIONS.items())
    ]
    endless = {"stream": True, "ignore_eos": True, "max_tokens": 2000}
    lines.append(build_line("left", "How do you count?", offset_seconds=0.5, hang_up_seconds=0.6, body=endless))
    stack.run("replay", write("asked.jsonl", *lines), "--save-responses", "recorded.jsonl").demand()
    return "recorded.jsonl"


def verdicts(document: dict[str, Any]) -> dict[str, str]:
    return {row["custom_id"]: row["verdict"] for row in document["rows"]}


def test_an_engine_that_did_not_change_answers_the_same(stack: Stack, recorded: str) -> None:
    document = stack.run("replay", recorded, "--json").demand().json()
    assert verdicts(document) == dict.fromkeys([*QUESTIONS, "left"], "equal")
    assert document["schedule"]["kind"] == "as recorded"
    assert document["renamed"] == {"production": 5}
    assert document["send_lag_seconds"]["p50"] >= 0
    assert document["now"]["ttft_seconds"]["p50"] > 0
    assert next(row for row in document["rows"] if row["custom_id"] == "left")["now"]["error"] == "hung-up"


def test_saved_answers_are_for_this_user_alone_and_are_replayed_many_at_a_time(stack: Stack, recorded: str) -> None:
    assert (stack.folder / recorded).stat().st_mode & 0o777 == 0o600
    done = stack.run("replay", recorded, "--concurrency", "5").demand()
    assert "5 of 5 sent 5 at a time: 5 equal" in done.out
    assert "model `production` sent as `" in done.out


@pytest.mark.fault(
    "an engine whose answers have changed",
    "`stack replay FILE` ends with 1 and names each record that differs, and at which token",
)
def test_answers_that_changed_are_told_with_their_place(stack: Stack, recorded: str, ill: None) -> None:
    misbehave(stack, "wrong-answers")
    done = stack.run("replay", recorded, "--concurrency", "2").demand(1)
    assert "the text parts at token 6" in done.out
    assert not any(text in done.out + done.err for text in ("Tokyo", "capital", "honey"))


def test_near_ties_are_told_apart(stack: Stack, ill: None, write: Callable[..., str]) -> None:
    asked = write("tied.jsonl", *(build_line(name, question) for name, question in QUESTIONS.items()))
    misbehave(stack, "undecided")
    stack.run("replay", asked, "--save-responses", "tied-recorded.jsonl").demand()
    misbehave(stack, "undecided-other")
    document = stack.run("replay", "tied-recorded.jsonl", "--json").demand().json()
    assert document["counts"]["near tie"] == 4
    assert {round(row["gap_nats"], 2) for row in document["rows"]} == {0.04}


def test_another_status_is_a_difference(stack: Stack, recorded: str, ill: None) -> None:
    text = (stack.folder / recorded).read_text().replace('"temperature":0', '"temperature":0,"max_tokens":-1')
    (stack.folder / "refused.jsonl").write_text(text)
    document = stack.run("replay", "refused.jsonl", "--concurrency", "1", "--json").demand(1).json()
    reasons = {row["custom_id"]: row["reasons"] for row in document["rows"] if row["verdict"] == "differs"}
    assert reasons == {name: ["status 200, now 400"] for name in QUESTIONS}
    assert document["statuses"]["400"] >= 4


@pytest.mark.fault(
    "the engine dies in the middle of a replay",
    "`stack replay FILE` ends with 1: what had no answer is `failed`, and the rest is compared",
)
def test_an_engine_that_dies_in_the_middle_is_told(stack: Stack, ill: None, write: Callable[..., str]) -> None:
    lines = [build_line(str(number), "What do bees make?", offset_seconds=number / 2) for number in range(4)]
    lines += [build_line(str(number), "How do you count?", offset_seconds=2.5) for number in range(4, 40)]
    asked = write("many.jsonl", *lines)
    misbehave(stack, "die-under-load")
    document = stack.run("replay", asked, "--save-responses", "lost.jsonl", "--json").demand(1).json()
    assert document["counts"]["not compared"] >= 4
    assert document["counts"]["failed"] >= 8
    assert not document["is_passed"]
    assert document["gave_up"] != (stack.folder / "lost.jsonl").exists()


def test_an_interrupt_ends_with_what_had_come(stack: Stack, url: str, write: Callable[..., str]) -> None:
    # Longer than anybody waits below: only a client that leaves ends it.
    endless = {"ignore_eos": True, "max_tokens": 20_000, "stream": True}
    lines = [build_line("short", "What do bees make?"), build_line("long", "How do you count?", body=endless)]
    asked = write("long.jsonl", *lines)
    with start(stack, "replay", asked, "--save-responses", "half.jsonl") as running:
        running.wait_said("2 requests")
        running.wait(lambda: count_requests(url), "the long answer")
        assert running.end(signal.SIGINT) == 130
    assert "half.jsonl is not written" in running.said
    assert not (stack.folder / "half.jsonl").exists()
    eventually(lambda: count_requests(url) == 0, "the end of what was hung up on")


def test_bad_lines_are_named_before_anything_is_sent(stack: Stack, write: Callable[..., str]) -> None:
    done = stack.run("replay", write("bad.jsonl", build_line("a", "x"), {"custom_id": "b"}, [1])).demand(8)
    assert "line 2: `method` must be `POST`" in done.err
    assert "line 3: no JSON object" in done.err


def test_a_replay_is_part_of_the_history(stack: Stack, recorded: str) -> None:
    from stack.history.store import open_history

    stack.run("replay", recorded).demand()
    newest = open_history(stack.state / "history.sqlite").list_runs("replay", 1)[0]
    assert (newest.passed, newest.report["counts"]["equal"]) == (True, 5)


def test_an_engine_that_serves_nothing_is_told(stack: Stack, recorded: str, ill: None) -> None:
    misbehave(stack, "unavailable")
    assert "503" in stack.run("replay", recorded).demand(6).err
