from __future__ import annotations

import math
from urllib.parse import parse_qs

import httpx2
import pytest

from stack.errors import ServiceApiError
from stack.telemetry.prometheus_api import Alert, PrometheusApi, Rule, Series, Target

# Recorded from Prometheus 2.42, shortened to the keys that are read and some that are not.
TARGETS = {
    "status": "success",
    "data": {
        "activeTargets": [
            {
                "discoveredLabels": {"__address__": "engine.metrics:8000", "job": "vllm"},
                "labels": {"instance": "engine", "job": "vllm"},
                "scrapePool": "vllm",
                "scrapeUrl": "http://engine.metrics:8000/metrics",
                "lastError": "connection refused",
                "health": "down",
                "scrapeInterval": "5s",
            },
            {
                "labels": {"instance": "grafana", "job": "grafana"},
                "scrapeUrl": "http://grafana.dashboards:3000/metrics",
                "lastError": "",
                "health": "up",
            },
        ],
        "droppedTargets": [],
    },
}
RULES = {
    "status": "success",
    "data": {
        "groups": [
            {
                "name": "vllm-load",
                "file": "/etc/prometheus/rules/recording.yaml",
                "interval": 5,
                "rules": [
                    {
                        "name": "model:vllm_num_requests_running:sum",
                        "query": "sum by (model_name) (vllm:num_requests_running)",
                        "health": "ok",
                        "type": "recording",
                    },
                    {"name": "Broken", "health": "err", "lastError": "many-to-many", "type": "alerting"},
                ],
            }
        ]
    },
}


ALERTS = {
    "status": "success",
    "data": {
        "alerts": [
            {
                "labels": {"alertname": "VllmEngineDown", "severity": "critical"},
                "annotations": {"summary": "the engine is not scraped"},
                "state": "pending",
                "activeAt": "2026-11-22T01:36:08.25Z",
                "value": "1e+00",
            }
        ]
    },
}


class Recorder:
    """Answers every request alike, and remembers them."""

    def __init__(self, answer) -> None:
        self.answer = answer
        self.requests: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        request.read()
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        if isinstance(self.answer, httpx2.Response):
            return self.answer
        return httpx2.Response(200, json=self.answer)

    @property
    def api(self) -> PrometheusApi:
        return PrometheusApi(httpx2.Client(transport=httpx2.MockTransport(self)), "http://p:9090/")


def result(kind: str, data) -> dict:
    return {"status": "success", "data": {"resultType": kind, "result": data}}


def test_targets_come_by_job_with_their_last_error():
    assert Recorder(TARGETS).api.fetch_targets() == (
        Target("grafana", "grafana", "http://grafana.dashboards:3000/metrics", "up", ""),
        Target("vllm", "engine", "http://engine.metrics:8000/metrics", "down", "connection refused"),
    )


def test_rules_come_with_their_health():
    assert Recorder(RULES).api.fetch_rules() == (
        Rule("vllm-load", "model:vllm_num_requests_running:sum", "recording", "ok", "", 5.0),
        Rule("vllm-load", "Broken", "alerting", "err", "many-to-many", 5.0),
    )


def test_alerts_come_with_their_summary_and_since_when():
    (alert,) = Recorder(ALERTS).api.fetch_alerts()
    labels = {"alertname": "VllmEngineDown", "severity": "critical"}
    assert alert == Alert(labels, "pending", "2026-11-22T01:36:08.25Z", "the engine is not scraped")


def test_a_query_is_posted_so_that_long_ones_pass():
    asked = Recorder(result("vector", [{"metric": {"job": "vllm"}, "value": [1700000000.123, "1"]}]))
    assert asked.api.query("up", at_seconds=1700000000) == (Series({"job": "vllm"}, ((1700000000.123, 1.0),)),)
    (request,) = asked.requests
    assert (request.method, str(request.url)) == ("POST", "http://p:9090/api/v1/query")
    assert parse_qs(request.content.decode()) == {"query": ["up"], "time": ["1700000000.000"]}


def test_a_range_query_gives_every_point_and_the_last_is_the_value():
    asked = Recorder(result("matrix", [{"metric": {}, "values": [[1, "0.5"], [2, "NaN"], [3, "+Inf"]]}]))
    (series,) = asked.api.query_range("up", start_seconds=1, end_seconds=3, step_seconds=1)
    assert series.points[0] == (1.0, 0.5)
    assert math.isnan(series.points[1][1])
    assert series.value == math.inf
    sent = parse_qs(asked.requests[0].content.decode())
    assert sent == {"query": ["up"], "start": ["1.000"], "end": ["3.000"], "step": ["1"]}


def test_a_scalar_is_one_series_without_labels():
    assert Recorder(result("scalar", [1, "42"])).api.query("scalar(up)") == (Series({}, ((1.0, 42.0),)),)


def test_a_string_has_no_series():
    assert Recorder(result("string", [1, "text"])).api.query('"text"') == ()


def test_build_info_tells_the_version():
    answer = {"status": "success", "data": {"version": "2.42.0", "revision": "225c61122d88"}}
    assert Recorder(answer).api.fetch_build_info()["version"] == "2.42.0"


def test_a_refused_query_gives_prometheus_own_words():
    refused = httpx2.Response(
        400, json={"status": "error", "errorType": "bad_data", "error": "1:5: parse error: unexpected end"}
    )
    with pytest.raises(ServiceApiError, match="parse error: unexpected end") as caught:
        Recorder(refused).api.query("sum(")
    assert caught.value.url == "http://p:9090/api/v1/query"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx2.Response(503, text="Service Unavailable"), r"HTTP 503 \(Service Unavailable\)"),
        (httpx2.Response(200, text="<html>"), "without JSON"),
        (httpx2.Response(200, json=["success"]), "without a result"),
        (httpx2.Response(200, json={"status": "success"}), "unknown shape"),
        (httpx2.Response(200, json={"status": "success", "data": {"groups": 1}}), "unknown shape"),
        (httpx2.ConnectError("connection refused"), "connection refused"),
        (httpx2.ReadTimeout("slow"), "no answer within 5 s"),
        (httpx2.RemoteProtocolError(""), "RemoteProtocolError"),
    ],
)
def test_whatever_else_comes_back_is_a_service_error(answer, said):
    with pytest.raises(ServiceApiError, match=said) as caught:
        Recorder(answer).api.fetch_rules()
    assert caught.value.service == "prometheus"
    assert caught.value.exit_code == 6


def test_readiness_is_a_yes_or_a_no():
    assert Recorder(httpx2.Response(200, text="Prometheus Server is Ready.\n")).api.is_ready()
    assert not Recorder(httpx2.Response(503)).api.is_ready()
    assert not Recorder(httpx2.ConnectError("refused")).api.is_ready()
