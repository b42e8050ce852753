"""Counts and coverage of a window, from what a real Prometheus answered."""

from __future__ import annotations

import dataclasses

import httpx2
import pytest

from stack.errors import ServiceApiError
from stack.telemetry.prometheus_api import PrometheusApi
from stack.telemetry.slo_counts import Source, Tally, build_bound_pattern, fetch_counts
from stack.telemetry.slo_coverage import Coverage, Window, choose_step, fetch_coverage
from stack.telemetry.slo_promql import LatencyObjective
from tests.fixtures.fake_prometheus import ENDS_AT, find_answer, load_answers

WINDOW = Window(ENDS_AT, 6 * 3600)
COVERAGE = Coverage(ENDS_AT - 7800, ENDS_AT, 7800, 15, 60, "15d")
BUSY = Source("vllm", "one", "busy")
LATENCIES = [LatencyObjective("ttft", 2.5, 0.95), LatencyObjective("itl", 0.2, 0.95), LatencyObjective("e2e", 60, 0.95)]


def make_api(**changes) -> PrometheusApi:
    answers = load_answers() | changes

    def answer(request: httpx2.Request) -> httpx2.Response:
        status, document = find_answer(answers, request.url.path, request.read().decode())
        return httpx2.Response(status, json=document)

    return PrometheusApi(httpx2.Client(transport=httpx2.MockTransport(answer)), "http://p:9090")


def fetch(api: PrometheusApi):
    return fetch_counts(api, WINDOW, COVERAGE, LATENCIES)


def make_answer(*values: str, **labels: str):
    result = [{"metric": labels, "value": [ENDS_AT, value]} for value in values]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


def test_every_count_is_that_of_its_engine_and_model():
    counts = fetch(make_api())
    assert [source.model for source in counts.sources] == ["busy", "idle", "few"]
    assert {reason: round(count) for reason, count in counts.finished[BUSY].items()} == {
        "stop": 400, "error": 8, "abort": 20,
    }  # fmt: skip
    assert round(counts.refused[BUSY.engine]) == 4
    assert ("shop", "shop") not in counts.refused
    tally = counts.tallies["ttft"][BUSY]
    assert (round(tally.events), round(tally.within), round(tally.requests)) == (408, 400, 408)
    # Requests stand behind tokens: an alert's least number is one of requests.
    assert (round(counts.tallies["itl"][BUSY].events), round(counts.tallies["itl"][BUSY].requests)) == (4000, 408)
    assert counts.busy_seconds.keys() == {None, "busy"}


def test_bounds_are_asked_for_only_where_the_one_that_is_meant_is_missing():
    counts = fetch(make_api())
    assert counts.tallies["e2e"][Source("vllm", "three", "idle")] == Tally(0.0, None, 0.0, (30.0,))
    assert counts.tallies["e2e"][BUSY].bounds == ()


def test_a_count_that_is_nan_is_none():
    query = "sum by (job, instance, model_name) (increase(vllm:prompt_tokens_total[21600s]))"
    nan = make_answer("NaN", job="vllm", instance="one", model_name="busy")
    assert fetch(make_api(**{query: nan})).prompt_tokens == {}


@pytest.mark.parametrize(
    ("seconds", "pattern"), [(60.0, "60[.]0|60"), (2.5, "2[.]5"), (0.001, "0[.]001"), (7680.0, "7680[.]0|7680")]
)
def test_a_bound_is_found_however_its_label_is_written(seconds, pattern):
    assert build_bound_pattern(seconds) == pattern


def test_coverage_is_told_to_the_sample():
    coverage = fetch_coverage(make_api(), WINDOW)
    assert coverage == dataclasses.replace(COVERAGE, seen_seconds=coverage.seen_seconds)
    assert coverage.seen_seconds == pytest.approx(7800, abs=60)


def test_without_a_sample_there_is_no_coverage():
    (look,) = (query for query in load_answers() if query.startswith("count(count_over_time("))
    nothing = {"status": "success", "data": {"resultType": "matrix", "result": []}}
    assert fetch_coverage(make_api(**{look: nothing}), WINDOW) == Coverage(None, None, 0.0, 0, 60, "15d")


def test_what_is_no_prometheus_itself_does_not_tell_its_retention():
    api = make_api(**{"/api/v1/status/runtimeinfo": {"status": "error", "error": "no such page"}})
    assert fetch_coverage(api, WINDOW).retention is None


def test_a_refused_query_is_an_error():
    with pytest.raises(ServiceApiError, match="nobody recorded"):
        fetch_coverage(make_api(), Window(ENDS_AT, 7 * 3600))


@pytest.mark.parametrize(
    ("window_seconds", "interval_seconds", "step"),
    [(300, 15, 60), (6 * 3600, 60, 120), (7 * 86_400, 15, 120), (365 * 86_400, 5, 3180), (3600, 0, 60)],
)
def test_steps_are_whole_minutes_of_two_samples_at_least_and_not_too_many(window_seconds, interval_seconds, step):
    assert choose_step(window_seconds, interval_seconds) == step
    assert window_seconds / step <= 10_000


def test_steps_end_where_prometheus_takes_them():
    assert Window(120.0, 60).align_end(60) == 120.0
    assert Window(121.0, 60).align_end(60) == 180.0
