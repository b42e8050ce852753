from __future__ import annotations

import pytest

from stack.telemetry.diagnosis.diagnose import NOT_ENOUGH, diagnose
from stack.telemetry.diagnosis.looks import NEEDED
from stack.telemetry.exposition import Exposition, parse_exposition
from tests.unit.telemetry.diagnosis.pages import (
    BASE,
    DECODE,
    KV,
    MADE,
    METRICS,
    RUNNING,
    SECONDS,
    build_page,
    drop,
    look_twice,
    relabel,
)


@pytest.mark.parametrize("name", ["process_start_time_seconds", "vllm:generation_tokens_created"])
def test_a_restart_between_the_looks_is_told_and_nothing_else(name):
    after = build_page(build_page(BASE, DECODE, adds=True), {name: 1.9e9, RUNNING: 12})
    (found,) = diagnose(BASE, after, SECONDS)
    assert (found.verdict, found.limits) == (NOT_ENOUGH, ())
    assert f"started anew between the looks (`{name}` is another at the second look)" in found.missing[0]


def test_a_restart_shows_in_counters_alone_where_no_start_is_told():
    untold = ("process_start_time_seconds", "vllm:generation_tokens_created")
    before = drop(build_page(BASE, {MADE: 5000}), *untold)
    (found,) = diagnose(before, drop(build_page(BASE, {MADE: 90}), *untold), SECONDS)
    assert found.verdict == NOT_ENOUGH
    assert "`vllm:generation_tokens_total` fell from 5000 to 90" in found.missing[0]


@pytest.mark.parametrize("name", NEEDED)
def test_a_series_that_is_missing_is_named(name):
    (found,) = diagnose(BASE, drop(BASE, name), SECONDS)
    assert found.verdict == NOT_ENOUGH
    assert found.missing == (f"the page lacks `{name}`: another version of vLLM",)


def test_a_page_without_vllm_is_another_service():
    page = Exposition(tuple(one for one in BASE.samples if not one.name.startswith("vllm:")), BASE.types)
    (found,) = diagnose(page, page, SECONDS)
    assert "none of vLLM's metrics" in found.missing[0]


def test_an_engine_that_sleeps_is_not_judged():
    awake = 'vllm:engine_sleep_state{sleep_state="awake"}'
    found = look_twice({}, {awake: 0})
    assert (found.verdict, found.missing) == (
        NOT_ENOUGH,
        ("the engine sleeps: wake it up (`POST /wake_up`) and ask again",),
    )


def test_each_model_and_rank_has_a_verdict_of_its_own():
    busy = build_page(build_page(BASE, DECODE, adds=True), {RUNNING: 12, KV: 0.2})
    before = Exposition((*relabel(build_page(BASE, {RUNNING: 12, KV: 0.2})), *relabel(BASE, engine="1")), BASE.types)
    after = Exposition((*busy.samples, *relabel(BASE, engine="1")), BASE.types)
    found = diagnose(before, after, SECONDS)
    assert [(one.window.engine, one.verdict) for one in found] == [("0", "decode"), ("1", "idle")]
    other = Exposition((*busy.samples, *relabel(BASE, model_name="b")), BASE.types)
    found = diagnose(Exposition((*BASE.samples, *relabel(BASE, model_name="b")), BASE.types), other, SECONDS)
    assert [(one.window.model, one.verdict) for one in found] == [("smollm2", "decode"), ("b", "idle")]


def test_a_page_of_an_older_vllm_is_judged():
    page = parse_exposition((METRICS / "vllm-0.31.0.txt").read_text())
    assert [one.verdict for one in diagnose(page, page, SECONDS)] == ["idle"]


def test_what_only_the_engines_machine_tells_is_said_to_be_missing_where_it_matters():
    assert look_twice({}).missing == ()
    missing = look_twice(DECODE, {RUNNING: 12}).missing
    assert [words.split(",")[0] for words in missing] == ["the host's CPU", "the GPUs' clocks"]
