"""Which alerts fire, of what a Prometheus answers; and that one which does not answer costs no more than its limit."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pytest

from stack.telemetry.firing import FiringAlert, fetch_firing
from tests.fixtures.fake_prometheus import serving_answers

PAGE = "/api/v1/alerts"


def build(name, severity, state="firing", at="2026-11-22T01:02:03.123456789Z", **labels):
    return {
        "labels": {"alertname": name, "severity": severity, **labels},
        "annotations": {"summary": f"{name} it is", "description": "…"},
        "state": state, "activeAt": at, "value": "1e+00",
    }  # fmt: skip


def fetch(document):
    with serving_answers({PAGE: document}) as url:
        return fetch_firing(urlsplit(url).port, timeout_seconds=5)


def answer(*alerts):
    return {"status": "success", "data": {"alerts": list(alerts)}}


def test_the_worst_comes_first_and_what_only_waits_to_fire_is_left_out():
    alerts = fetch(
        answer(
            build("A", "info"),
            build("B", "warning"),
            build("C", "critical", "pending"),
            build("D", "critical", gpu="0"),
        )
    )
    assert [(alert.name, alert.severity) for alert in alerts] == [("D", "critical"), ("B", "warning"), ("A", "info")]
    assert alerts[0] == FiringAlert("D", "critical", "2026-11-22T01:02:03+00:00", "D it is", {"gpu": "0"})


def test_of_two_alike_the_older_comes_first_and_one_without_a_severity_last():
    other = {"labels": {"alertname": "Mine"}, "state": "firing", "activeAt": "2026-11-22T01:00:00Z"}
    alerts = fetch(answer(other, build("B", "warning"), build("A", "warning", at="2026-11-21T09:00:00Z")))
    assert [alert.name for alert in alerts] == ["A", "B", "Mine"]
    assert (alerts[-1].severity, alerts[-1].summary) == ("", "")


def test_none_fires():
    assert fetch(answer()) == ()


@pytest.mark.parametrize(
    "document",
    [{"status": "error", "error": "no"}, [], answer({"state": "firing"}), answer("x"), {"data": {"alerts": 3}}],
)
def test_what_is_no_answer_of_prometheus_tells_nothing(document):
    assert fetch(document) is None


def test_nobody_is_there():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert fetch_firing(free.getsockname()[1], timeout_seconds=5) is None


def test_who_says_nothing_is_not_waited_for():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert fetch_firing(silent.getsockname()[1], timeout_seconds=0.05) is None
