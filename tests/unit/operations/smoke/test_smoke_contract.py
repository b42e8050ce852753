"""The rendered dashboards and rules are held against the engine's page, and against Prometheus where there is one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import parse_qs

import httpx2
import pytest

from stack.errors import ServiceApiError
from stack.operations.smoke.contract import ContractFacts
from stack.telemetry.prometheus_api import PrometheusApi

USAGE, SUCCESS = "vllm:kv_cache_usage_perc", "vllm:request_success_total"
PAGE = f"# TYPE {USAGE} gauge\n{USAGE} 0.5\n# TYPE {SUCCESS} counter\n{SUCCESS} 7\n"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write one dashboard and one rule, as they are rendered; give the folder."""

    def call(*exprs: str) -> Path:
        panels = [{"title": f"Panel {at}", "targets": [{"refId": "A", "expr": expr}]} for at, expr in enumerate(exprs)]
        board = tmp_path / "grafana" / "dashboards" / "board.json"
        board.parent.mkdir(parents=True)
        board.write_text(json.dumps({"uid": "board", "panels": panels}))
        rules = tmp_path / "prometheus" / "rules" / "rules.yaml"
        rules.parent.mkdir(parents=True)
        group = {"name": "group", "rules": [{"record": "level:usage", "expr": USAGE}]}
        rules.write_text(json.dumps({"groups": [group]}))
        return tmp_path

    return call


def build_prometheus(values: Mapping[str, float], names: tuple[str, ...] = ("up",)) -> PrometheusApi:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if "label" in request.url.path:
            return httpx2.Response(200, json={"status": "success", "data": list(names)})
        expr = parse_qs(request.content.decode())["query"][0]
        if "label_replace" in expr:
            # As of an expression among them that cannot be evaluated: each is asked alone then.
            return httpx2.Response(400, json={"status": "error", "error": "refused"})
        result = [{"metric": {}, "value": [0, str(values[expr])]}] if expr in values else []
        return httpx2.Response(200, json={"status": "success", "data": {"resultType": "vector", "result": result}})

    return PrometheusApi(httpx2.Client(transport=httpx2.MockTransport(answer)), "http://prometheus")


def build(folder: Path, api: PrometheusApi | None = None, page: str = PAGE, version: str | None = "0.32.0"):
    return ContractFacts(folder, lambda seconds: page, version=version, api=api, scrape_interval_seconds=5)


def test_a_panel_whose_metric_the_engine_lost_is_dead_although_prometheus_remembers_it(write) -> None:
    folder = write("vllm:num_requests_running", "up")
    api = build_prometheus({"up": 1.0, USAGE: 0.5}, ("up", "vllm:num_requests_running"))
    states = {state.place: state for state in build(folder, api).look()}
    assert {place: state.outcome for place, state in states.items()} == {
        "grafana/dashboards/board.json: panel `Panel 0` (A)": "dead",
        "grafana/dashboards/board.json: panel `Panel 1` (A)": "ok",
        "prometheus/rules/rules.yaml: record `level:usage` (group)": "ok",
    }
    assert "does not exist" in states["grafana/dashboards/board.json: panel `Panel 0` (A)"].reason


def test_a_metric_that_came_later_than_this_engine_is_told_and_is_no_fault(write) -> None:
    folder = write("vllm:admission_rejections_total")
    outcomes = [
        build(folder, build_prometheus({}), version=version).look()[0].outcome for version in ("0.31.0", "0.32.0")
    ]
    assert outcomes == ["conditional", "dead"]


def test_without_prometheus_names_are_held_against_the_page(write) -> None:
    states = build(write("level:usage", USAGE, "node_load1", "vllm:gone")).look()
    assert [state.outcome for state in states] == ["named", "named", "named", "dead", "named"]


def test_a_dashboard_that_cannot_be_read_is_an_error(write) -> None:
    folder = write("up")
    (folder / "grafana" / "dashboards" / "board.json").write_text("{")
    assert [(state.place, state.outcome) for state in build(folder).look()] == [
        ("grafana/dashboards/board.json", "error"),
        ("prometheus/rules/rules.yaml: record `level:usage` (group)", "named"),
    ]


def test_what_smoke_sent_has_arrived_when_prometheus_counts_more_than_the_engine_did_before(write) -> None:
    folder = write("up")
    for counted, has_arrived in ((7.0, False), (8.0, True)):
        contract = build(folder, build_prometheus({f"sum({SUCCESS})": counted}))
        contract.begin()
        assert contract.has_arrived() is has_arrived
    assert build(folder).has_arrived()


def test_an_engine_that_does_not_answer_is_told_when_it_is_looked_at(write) -> None:
    def fail(seconds: float | None) -> str:
        raise ServiceApiError("engine", "/metrics", "no answer")

    contract = ContractFacts(write("up"), fail, version=None, api=None, scrape_interval_seconds=5)
    contract.begin()
    with pytest.raises(ServiceApiError):
        contract.look()


def test_the_first_look_takes_seconds_and_no_more_where_the_engine_hangs(tmp_path: Path) -> None:
    asked: list[float | None] = []

    def fetch(seconds: float | None) -> str:
        asked.append(seconds)
        raise ServiceApiError("engine", "http://engine/metrics", "it hangs")

    ContractFacts(tmp_path, fetch, version=None, api=None, scrape_interval_seconds=5).begin()
    assert asked == [3.0]
