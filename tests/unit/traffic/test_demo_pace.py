"""An engine's pace is read from a few answers; what they do not tell is taken for slow."""

from __future__ import annotations

import pytest

from stack.traffic.demo_body import COMPLETION, Engine
from stack.traffic.demo_pace import (
    TOGETHER,
    build_first,
    build_probes,
    fall_back,
    read_characters_per_token,
    read_pace,
)
from stack.traffic.demo_texts import load_demo_texts
from stack.traffic.engine_answers import Answer, Usage
from stack.traffic.observation import Observation
from stack.traffic.record import RecordedResponse

TEXTS = load_demo_texts()
ENGINE = Engine("m")


def see(ttft: float | None, itl: float | None, prompt_tokens: int | None = None) -> Observation:
    usage = Usage(prompt_tokens, 4) if prompt_tokens is not None else None
    response = RecordedResponse(200, None, answers=(Answer("x", "length", usage),), ttft_seconds=ttft, itl_seconds=itl)
    return Observation(0, "x", response, 0.0)


def test_the_pace_is_that_of_a_long_prompt_and_of_answers_together() -> None:
    pace = read_pace(see(0.5, 0.02, 500), [see(1.0, 0.04)] * TOGETHER)
    assert (pace.prefill_tokens_per_second, pace.itl_seconds, pace.loaded_itl_seconds) == (1000.0, 0.02, 0.04)
    assert pace.tokens_per_second == pytest.approx(TOGETHER / 0.04)
    assert pace.estimate_seconds(1000, 20) == pytest.approx(1.1)


def test_answers_that_tell_nothing_are_taken_for_slow() -> None:
    pace = read_pace(see(None, None), [see(None, None)] * TOGETHER)
    assert pace.tokens_per_second == 5.0 and pace.prefill_tokens_per_second == 100.0


def test_a_slow_first_answer_makes_the_probes_short() -> None:
    slow = [record for group in build_probes(ENGINE, TEXTS, see(10.0, 1.0), 1) for record in group]
    quick = [record for group in build_probes(ENGINE, TEXTS, see(0.05, 0.01), 1) for record in group]
    assert len(slow) == len(quick) == 1 + TOGETHER
    assert len(slow[0].body["messages"][0]["content"]) < len(quick[0].body["messages"][0]["content"])
    assert slow[-1].body["max_tokens"] == 4 and quick[-1].body["max_tokens"] == 24


def test_no_two_runs_ask_for_the_same_long_prompt() -> None:
    first, second = (build_probes(ENGINE, TEXTS, see(0.05, 0.01), nonce)[0][0].body for nonce in (1, 2))
    assert first != second


def test_characters_per_token_are_those_that_were_sent() -> None:
    [record] = build_first(ENGINE, TEXTS)
    length = len(record.body["messages"][0]["content"])
    assert read_characters_per_token(record, see(0.1, 0.1, 10)) == length / 10
    assert read_characters_per_token(record, see(0.1, 0.1)) is None
    [plain] = build_first(fall_back(ENGINE), TEXTS)
    assert plain.url == COMPLETION
    assert read_characters_per_token(plain, see(0.1, 0.1, 10)) == len(plain.body["prompt"]) / 10
