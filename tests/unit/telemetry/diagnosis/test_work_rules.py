from __future__ import annotations

import pytest

from stack.telemetry.diagnosis.diagnose import diagnose
from stack.telemetry.diagnosis.surroundings import Surroundings
from stack.telemetry.exposition import Exposition, Sample
from tests.unit.telemetry.diagnosis.pages import (
    BASE,
    COMPUTED,
    DECODE,
    ENDED,
    FEW,
    ITL,
    KV,
    MADE,
    PREFILL,
    QUEUED,
    READ,
    READING,
    RUNNING,
    SECONDS,
    SERVER_CPU,
    TTFT,
    WAITING,
    look_twice,
    names,
)


def verdict(found):
    return (found.verdict, found.limits[0].confidence if found.limits else None)


def test_reading_prompts_is_prefill():
    found = look_twice(READING, {RUNNING: 4, KV: 0.2})
    assert verdict(found) == ("prefill", "high")
    assert found.limits[0].evidence == (
        "100% of the time that requests were computed was before their first token",
        "2000 prompt tokens/s computed, 2 tokens/s made",
        "0% of the prompt tokens came from a cache",
    )
    assert any("max-num-batched-tokens" in words for words in found.limits[0].change)


def test_a_long_prompt_that_gives_no_token_yet_is_prefill_by_the_kv_cache_it_takes():
    found = look_twice({}, {RUNNING: 1}, first={KV: 0.1}, second={KV: 0.4})
    assert verdict(found) == ("prefill", "medium")


def test_making_tokens_is_decode():
    found = look_twice(DECODE, {RUNNING: 12, KV: 0.2})
    assert verdict(found) == ("decode", "high")
    assert (
        "11.9 answers under way at once on average, 150 tokens/s, 80 ms from token to token" in found.limits[0].evidence
    )
    assert names(found) == ["decode"]


def test_decode_beside_many_prompt_tokens_is_less_sure():
    found = look_twice({**DECODE, READ: 40000, COMPUTED: 40000}, {RUNNING: 12, KV: 0.2})
    assert verdict(found) == ("decode", "medium")
    assert found.limits[0].change[0].startswith("lower `max-num-batched-tokens`")


def test_prompts_from_the_cache_are_no_prefill():
    found = look_twice({**DECODE, READ: 400000}, {RUNNING: 12, KV: 0.2})
    assert verdict(found) == ("decode", "high")


@pytest.mark.parametrize(("rose", "verdict"), [(DECODE, "decode"), (READING, "prefill"), (FEW, "client"), ({}, "idle")])
def test_what_the_engine_did_before_the_first_look_counts_for_nothing(rose, verdict):
    long_ago = {TTFT: 5e5, ITL: 1e6, MADE: 1e7, READ: 1e7, COMPUTED: 1e7, ENDED: 1e5, PREFILL: 2e5, QUEUED: 3e5}
    assert look_twice(rose, long_ago).verdict == verdict


def test_an_engine_with_free_time_waits_for_its_clients():
    found = look_twice(FEW)
    assert verdict(found) == ("client", "high")
    assert names(found) == ["client"]
    assert found.limits[0].evidence[0] == (
        "0.30 requests in the engine at once on average: nothing to do for at least 70% of the time"
    )


def test_one_client_that_asks_without_a_pause_is_named_before_decode():
    found = look_twice({**FEW, ITL: 19}, {RUNNING: 1})
    assert names(found) == ["client", "decode"]
    assert found.limits[0].confidence == "medium"


def test_one_request_is_too_few_for_a_strong_word():
    assert verdict(look_twice({**FEW, ENDED: 1})) == ("client", "medium")


@pytest.mark.parametrize("rose", [DECODE, READING])
def test_an_engine_that_is_full_does_not_wait_for_clients(rose):
    assert "client" not in names(look_twice(rose, {RUNNING: 12}))


def test_where_requests_wait_the_client_is_not_the_limit():
    assert "client" not in names(look_twice(FEW, {RUNNING: 1, WAITING: 1}))


def test_no_request_and_no_token_is_idle():
    found = look_twice({})
    assert verdict(found) == ("idle", "high")
    assert found.missing == ()


def test_idle_is_less_sure_within_the_time_of_one_long_step():
    assert verdict(look_twice({}, seconds=5)) == ("idle", "medium")
    resting = Surroundings(device="cpu", engine_cores=0.03, cores=2)
    assert verdict(look_twice({}, seconds=5, around=resting)) == ("idle", "high")


def test_an_engine_that_computes_while_its_page_stands_still_is_not_idle():
    found = look_twice({}, around=Surroundings(device="cpu", engine_cores=1.8, cores=2))
    assert verdict(found) == ("not enough evidence", None)
    assert "a step that ended" in found.missing[0]


def test_idle_tells_of_clients_that_are_refused():
    refused = Sample("http_requests_total", {"handler": "/v1/completions", "method": "POST", "status": "4xx"}, 3)
    (found,) = diagnose(BASE, Exposition((*BASE.samples, refused), BASE.types), SECONDS)
    assert found.verdict == "idle"
    assert "3 HTTP answers with a status of 400 or more" in found.limits[0].evidence
    assert found.limits[0].change[0].startswith("the server refuses what clients send")


@pytest.mark.parametrize("both", [{RUNNING: 1}, {WAITING: 1}])
def test_an_engine_with_requests_is_not_idle(both):
    assert "idle" not in names(look_twice({}, both))


def test_a_request_at_one_look_and_nothing_else_is_not_enough_evidence():
    found = look_twice({}, second={RUNNING: 1})
    assert verdict(found) == ("not enough evidence", None)
    assert "0 requests ended and 0 tokens were made in 20 s; look longer" in found.missing[0]


def test_the_servers_own_cpu_time_is_no_work():
    assert verdict(look_twice({SERVER_CPU: 1})) == ("idle", "high")
