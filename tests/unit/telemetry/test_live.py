from __future__ import annotations

import math
import re

import pytest

from stack.telemetry.exposition import Exposition, Sample, parse_exposition
from stack.telemetry.live import build_live
from tests.unit.telemetry.diagnosis.pages import (
    BASE,
    DEFERRED,
    KV,
    MADE,
    METRICS,
    PREEMPTED,
    READ,
    REJECTED,
    RUNNING,
    build_page,
    drop,
    relabel,
)

QUERIES, HITS = "vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total"
START = "process_start_time_seconds"
TTFT = "vllm:time_to_first_token_seconds"


def read_pair(state: str) -> tuple[Exposition, Exposition, float]:
    texts = [(METRICS / "diagnosis" / f"{state}.{when}.txt").read_text() for when in ("before", "after")]
    seconds = float(re.search(r"^# seconds (\S+)$", texts[1], re.MULTILINE)[1])
    return parse_exposition(texts[0]), parse_exposition(texts[1]), seconds


def live_of(rose, both=None, seconds=2.0):
    before = build_page(BASE, both or {})
    return build_live(before, build_page(before, rose, adds=True), seconds)


def test_counts_are_those_of_the_window_and_rates_are_per_second_of_it():
    live = live_of({MADE: 300, READ: 50, PREEMPTED: 1, 'vllm:request_success_total{finished_reason="length"}': 4})
    recent = live.total.recent
    assert (recent.generation_tokens, recent.prompt_tokens, recent.preemptions, recent.requests) == (300, 50, 1, 4)
    assert recent.per_second(recent.generation_tokens) == 150
    assert {reason: count for reason, count in recent.finished.items() if count} == {"length": 4}
    assert live.total.whole.generation_tokens > 300
    assert live.total.whole.per_second(5) is None


@pytest.mark.parametrize("state", ["decode", "prefill", "queue", "preemption", "idle", "kv-cache"])
def test_recorded_pairs_give_the_rates_that_the_engine_had(state):
    before, after, seconds = read_pair(state)
    recent = build_live(before, after, seconds).total.recent
    made = after.total("vllm:generation_tokens_total") - before.total("vllm:generation_tokens_total")
    assert recent.per_second(recent.generation_tokens) == pytest.approx(made / seconds)
    assert (made == 0) == (state == "idle")


def test_the_first_look_has_gauges_and_what_was_since_the_start_but_no_rates():
    live = build_live(None, build_page(BASE, {RUNNING: 3, KV: 0.25}), 0.0)
    assert (live.total.recent, live.total.running, live.total.kv_usage) == (None, 3, 0.25)
    assert live.total.whole.latencies["ttft"].events > 0
    assert set(live.total.whole.latencies["ttft"].quantiles) == {0.5, 0.95, 0.99}
    assert live.started_at == pytest.approx(1763750000.12)


def test_quantiles_are_of_the_window_alone():
    bounds = {sample.labels["le"] for sample in BASE.select(f"{TTFT}_bucket") if float(sample.labels["le"]) >= 5.0}
    rose = {f'{TTFT}_bucket{{le="{bound}"}}': 10 for bound in bounds} | {f"{TTFT}_count": 10}
    live = live_of(rose)
    recent, whole = live.total.recent.latencies["ttft"], live.total.whole.latencies["ttft"]
    assert recent.events == 10
    assert 2.5 <= recent.quantiles[0.5] <= 5.0
    assert whole.quantiles[0.5] < recent.quantiles[0.5]
    assert live.total.recent.latencies["itl"].quantiles == {}
    assert recent.highest_bound_seconds == 2560.0


@pytest.mark.parametrize("fallen", [{MADE: 1}, {START: 1.8e9}])
def test_a_restart_between_the_looks_gives_no_rates(fallen):
    live = build_live(BASE, build_page(BASE, fallen), 2.0)
    assert live.total.recent is None
    assert live.restart is not None
    assert all(part.recent is None for part in live.parts)


def test_no_rate_is_ever_negative_whatever_order_the_pages_have():
    for state in ("decode", "prefill", "queue", "preemption"):
        before, after, seconds = read_pair(state)
        assert build_live(after, before, seconds).total.recent is None


def test_prefix_hits_are_a_ratio_of_tokens_and_unknown_while_none_is_looked_for():
    assert live_of({QUERIES: 400, HITS: 100}).total.recent.hit_ratio == 0.25
    assert live_of({}).total.recent.hit_ratio is None
    assert live_of({}).total.whole.hit_ratio == pytest.approx(64 / 111)


def test_what_a_page_does_not_have_is_unknown():
    page = drop(BASE, PREEMPTED, KV, f"{TTFT}_count", "vllm:cache_config_info", "vllm:request_success_total")
    total = build_live(page, page, 2.0).total
    assert (total.recent.preemptions, total.kv_usage, total.kv_tokens, total.recent.requests) == (None,) * 4
    assert "ttft" not in total.recent.latencies
    assert build_live(None, Exposition((), {}), 0.0).parts == ()


def test_what_is_no_number_is_unknown():
    total = build_live(BASE, build_page(BASE, {KV: math.nan, RUNNING: math.inf, MADE: math.nan}), 2.0).total
    assert (total.kv_usage, total.running, total.recent.generation_tokens) == (None, None, None)


def test_several_engines_are_told_apart_and_together():
    second = relabel(build_page(BASE, {RUNNING: 4, KV: 0.9}), engine="1", model_name="other")
    before = Exposition(BASE.samples + second, BASE.types)
    after = build_page(before, {f'{MADE}{{engine="1"}}': 100, f'{MADE}{{engine="0"}}': 20}, adds=True)
    live = build_live(before, after, 2.0)
    assert [(part.model, part.engine) for part in live.parts] == [("smollm2", "0"), ("other", "1")]
    assert [part.recent.generation_tokens for part in live.parts] == [20, 100]
    assert (live.total.recent.generation_tokens, live.total.running, live.total.kv_usage) == (120, 4, 0.9)
    assert live.total.kv_tokens == 2 * live.parts[0].kv_tokens
    assert live.total.whole.latencies["ttft"].events == 2 * live.parts[0].whole.latencies["ttft"].events


def test_a_page_that_does_not_number_its_engine_has_one_part_with_all_its_figures():
    samples = (Sample(one.name, {k: v for k, v in one.labels.items() if k != "engine"}, one.value)
               for one in build_page(BASE, {RUNNING: 3}).samples)  # fmt: skip
    before = Exposition(tuple(samples), BASE.types)
    live = build_live(before, build_page(before, {MADE: 20}, adds=True), 2.0)
    (part,) = live.parts
    assert (part.engine, part.running, part.kv_tokens) == ("", 3, live.total.kv_tokens)
    assert part.recent.generation_tokens == live.total.recent.generation_tokens == 20


def test_refusals_are_told_of_all_engines_together_only():
    live = live_of({REJECTED: 3})
    assert live.total.recent.refused["queue limit"] == 3
    assert live.parts[0].recent.refused == {}
    page = parse_exposition('http_requests_total{status="4xx"} 2\nhttp_requests_total{status="2xx"} 9\n')
    assert build_live(None, page, 0.0).total.whole.refused == {"4xx": 2}


def test_sleep_and_deferred_requests_are_told():
    total = live_of({}, {DEFERRED: 2, 'vllm:engine_sleep_state{sleep_state="awake"}': 0}).total
    assert (total.deferred, total.is_asleep) == (2, True)
    assert live_of({}).total.is_asleep is False
