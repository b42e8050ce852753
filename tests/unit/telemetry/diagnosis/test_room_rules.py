from __future__ import annotations

import pytest

from stack.telemetry.diagnosis.surroundings import Surroundings
from tests.unit.telemetry.diagnosis.pages import (
    DECODE,
    DEFERRED,
    ENDED,
    FEW,
    ITL,
    KV,
    MADE,
    PREEMPTED,
    QUEUE,
    QUEUED,
    READ,
    READING,
    REJECTED,
    RUNNING,
    TTFT,
    WAITING,
    look_twice,
    names,
)

TWO_PLACES = Surroundings(device="cpu", max_num_seqs=2)


def test_requests_that_stand_still_with_an_engine_that_rests_are_stuck_for_sure():
    found = look_twice({}, {RUNNING: 3, KV: 0.2}, around=Surroundings(device="cuda", engine_cores=0.02, cores=8))
    assert names(found) == ["stuck"]
    assert found.limits[0].confidence == "high"
    assert "3 and 3 requests running, 0 and 0 waiting" in found.limits[0].evidence


@pytest.mark.parametrize(
    ("around", "confidence"),
    [
        (Surroundings(), "medium"),
        (Surroundings(device="cuda", engine_cores=1.0), "medium"),
        (Surroundings(device="cpu", engine_cores=2.0), "low"),
    ],
)
def test_what_computes_may_be_in_a_long_step(around, confidence):
    found = look_twice({}, {RUNNING: 3, KV: 0.2}, around=around)
    assert [(limit.name, limit.confidence) for limit in found.limits] == [("stuck", confidence)]


def test_requests_that_wait_while_none_runs_are_stuck_too():
    assert names(look_twice({}, {WAITING: 3})) == ["stuck"]


@pytest.mark.parametrize(
    ("rose", "first", "second"),
    [
        ({"vllm:generation_tokens_total": 1}, {RUNNING: 3}, {RUNNING: 3}),  # a token came
        ({}, {RUNNING: 3}, {RUNNING: 0}),  # they were there at one look only
        ({}, {RUNNING: 1, KV: 0.1}, {RUNNING: 1, KV: 0.3}),  # a long prompt is being read
        ({}, {WAITING: 1, DEFERRED: 1}, {WAITING: 1, DEFERRED: 1}),  # something else is waited for
    ],
)
def test_an_engine_that_moves_is_not_stuck(rose, first, second):
    assert "stuck" not in names(look_twice(rose, first=first, second=second))


def test_preemptions_between_the_looks_are_the_limit():
    found = look_twice({**DECODE, PREEMPTED: 9}, {RUNNING: 12, WAITING: 4, KV: 0.97})
    assert names(found)[0] == "preemption"
    assert found.limits[0].confidence == "high"
    assert found.limits[0].evidence[0] == "9 preemptions in 20 s; 24 requests ended"
    assert any("kv-cache-memory-bytes" in words for words in found.limits[0].change)
    assert not {"queue", "kv-cache"} & set(names(found))


def test_preemptions_of_long_ago_are_none():
    both = {RUNNING: 12, KV: 0.97, PREEMPTED: 4000}
    assert "preemption" not in names(look_twice(DECODE, both))


def test_one_preemption_in_hundreds_of_requests_is_a_hint():
    found = look_twice({**DECODE, PREEMPTED: 1, ENDED: 400}, {RUNNING: 12, KV: 0.95})
    assert (names(found)[0], found.limits[0].confidence) == ("preemption", "low")


def test_waiting_before_a_full_kv_cache_is_the_kv_cache():
    found = look_twice(DECODE, {RUNNING: 12, WAITING: 4, KV: 0.96})
    assert names(found)[0] == "kv-cache"
    assert found.limits[0].confidence == "high"
    assert "queue" not in names(found)


def test_too_little_room_for_one_more_prompt_is_the_kv_cache_below_90_percent():
    # 46592 tokens, a quarter of them free; prompts of 20000 tokens.
    found = look_twice({**DECODE, READ: 480000}, {RUNNING: 2, WAITING: 4, KV: 0.75})
    assert (names(found)[0], found.limits[0].confidence) == ("kv-cache", "medium")
    assert "room for 11648 of 46592 tokens; a prompt has 20000 on average" in found.limits[0].evidence


@pytest.mark.parametrize(
    ("both", "around"),
    [
        ({RUNNING: 12, KV: 0.96}, None),  # nobody waits
        ({RUNNING: 12, WAITING: 4, KV: 0.5}, None),  # there is room
        ({RUNNING: 2, WAITING: 4, KV: 0.96}, TWO_PLACES),  # no place either
    ],
)
def test_the_kv_cache_is_not_named(both, around):
    assert "kv-cache" not in names(look_twice(DECODE, both, around=around))


def test_one_look_at_a_full_kv_cache_makes_nothing_sure():
    rose = {**DECODE, READ: 480000}
    found = look_twice(rose, {RUNNING: 2, WAITING: 4}, first={KV: 0.95}, second={KV: 0.75})
    assert (names(found)[0], found.limits[0].confidence) == ("kv-cache", "medium")


def test_a_nearly_full_kv_cache_is_named_where_no_prompt_tells_how_much_is_wanted():
    rose = {MADE: 300, ITL: 100}
    found = look_twice(rose, {RUNNING: 6, WAITING: 3, KV: 0.88}, around=Surroundings(max_num_seqs=256))
    assert (names(found)[0], found.limits[0].confidence) == ("kv-cache", "medium")
    assert "kv-cache" not in names(look_twice(rose, {RUNNING: 6, WAITING: 3, KV: 0.7}))


def test_a_full_kv_cache_at_one_look_only_is_no_verdict():
    found = look_twice(DECODE, {RUNNING: 12, WAITING: 4}, first={KV: 0.99}, second={KV: 0.5})
    assert "kv-cache" not in names(found)


def test_every_place_taken_and_requests_waiting_is_the_queue():
    found = look_twice(QUEUE, {RUNNING: 2, WAITING: 6, KV: 0.01}, around=TWO_PLACES)
    assert names(found)[0] == "queue"
    assert found.limits[0].confidence == "high"
    assert found.limits[0].evidence == (
        "6 and 6 requests waiting, 2 and 2 running",
        "the 20 requests that ended had waited 6.00 s on average, 99% of the time to their first token",
        "KV cache 1% and 1% full, no preemption",
        "every place in the batch is taken (`max-num-seqs` is 2)",
    )
    assert found.limits[0].change[0].startswith("raise `max-num-seqs`")


def test_without_the_number_of_places_the_queue_is_less_sure_and_says_what_is_missing():
    found = look_twice(QUEUE, {RUNNING: 2, WAITING: 6, KV: 0.01})
    assert (names(found)[0], found.limits[0].confidence) == ("queue", "medium")
    assert "the engine's `max-num-seqs`, which /metrics does not tell" in found.missing


def test_places_that_are_free_while_requests_wait_and_prompts_are_read_are_the_step_budget():
    found = look_twice(READING, {RUNNING: 2, WAITING: 6, KV: 0.1}, around=Surroundings(max_num_seqs=256))
    assert (names(found), found.limits[0].confidence) == (["queue", "prefill"], "medium")
    assert found.limits[0].change[0].startswith("raise `max-num-batched-tokens`")


def test_places_that_are_free_while_requests_wait_for_no_known_reason_are_a_hint():
    found = look_twice(QUEUE, {RUNNING: 2, WAITING: 6, KV: 0.01}, around=Surroundings(max_num_seqs=256))
    assert (names(found)[0], found.limits[0].confidence) == ("queue", "low")
    assert "2 of 256 places taken at most" in found.limits[0].evidence
    assert found.limits[0].change[0].startswith("look again and longer")


def test_one_instant_of_waiting_is_no_queue():
    found = look_twice(DECODE, {RUNNING: 12, KV: 0.1}, second={WAITING: 5})
    assert "queue" not in names(found)


def test_one_look_with_waiting_and_long_waits_of_those_that_ended_is_a_queue_that_empties():
    found = look_twice(QUEUE, {RUNNING: 2}, first={WAITING: 6}, around=TWO_PLACES)
    assert (names(found)[0], found.limits[0].confidence) == ("queue", "medium")


def test_waiting_of_long_ago_is_no_queue():
    assert "queue" not in names(look_twice(DECODE, {RUNNING: 12, QUEUED: 1e6, TTFT: 1e6}))


def test_deferred_requests_are_told_apart():
    found = look_twice(DECODE, {RUNNING: 4, DEFERRED: 3})
    assert names(found)[0] == "queue"
    assert "max-loras" in found.limits[0].change[0]


def test_rejections_between_the_looks_are_an_admission_limit():
    found = look_twice({**DECODE, REJECTED: 7}, {RUNNING: 12})
    assert names(found)[0] == "admission"
    assert found.limits[0].evidence[0] == "7 by `max-num-queued-reqs` in 20 s; 24 requests ended"


def test_rejections_stand_behind_the_queue_that_they_come_from():
    found = look_twice({**QUEUE, REJECTED: 7}, {RUNNING: 2, WAITING: 6}, around=TWO_PLACES)
    assert names(found)[:2] == ["queue", "admission"]


def test_rejections_of_long_ago_are_none():
    assert "admission" not in names(look_twice(FEW, {REJECTED: 900}))
