"""Services are asked, an engine that boots is listened to, and what cannot be compared is told."""

from __future__ import annotations

import datetime
import json

import pytest

from stack.config.lock import Lock
from stack.errors import CommandError, ModelError
from stack.operations.project import ProjectFacts
from stack.operations.status import verdict as module
from stack.operations.status.read import Status
from stack.operations.status.verdict import read_rendered, read_verdict
from stack.telemetry.firing import FiringAlert
from stack.traffic.health import Probe

NOW = datetime.datetime(2026, 11, 21, 22, 0, 20, tzinfo=datetime.UTC)
GOOD, REFUSED = Probe(True, "/x: 200"), Probe(False, "/health: connection refused")
LOADING = "INFO 11-21 22:00:00 [gpu_worker.py:1] Starting to load model /models/x...\n"
SHARDS = "Loading safetensors checkpoint shards:  20% Completed | 1/5\n"
SERVING = "INFO:     Application startup complete.\n"
ALONE = "\n".join(f"[services.{name}]\nenabled = false" for name in ("prometheus", "grafana", "node-exporter"))
CLIENT = object()


@pytest.fixture
def look(make_session, make_state, monkeypatch):
    """A function: the engine's container, the answers and the engine's log give the verdict."""
    monkeypatch.setattr(module, "find_drift", lambda session, status, rendered: ())

    def call(*, toml=ALONE, answers=(GOOD,), log="", facts=None, others=(), fetch=None, **changes):
        def read(client, container_id, *, since):
            if isinstance(log, Exception):
                raise log
            return log

        monkeypatch.setattr(module, "read_log", read)
        left = list(answers)
        asked = []

        def ask(port, page):
            asked.append((port, page))
            return left.pop(0) if len(left) > 1 else left[0]

        states = {"engine": make_state(**({"host_port": 8001, "health": "starting"} | changes))}
        states |= {state.name: state for state in others}
        status = Status("mine", (), None, None, None, states, facts or ProjectFacts(), Lock())
        verdict = read_verdict(
            make_session(toml), status, CLIENT, ask=ask, fetch=fetch, now=lambda: NOW,
            patience_seconds=5.0 if len(answers) > 1 else 0.0,
        )  # fmt: skip
        return verdict, asked

    return call


def said(verdict):
    return [reason.message for reason in verdict.reasons]


def test_an_engine_that_answers_is_up_before_docker_has_seen_it(look):
    verdict, asked = look()
    assert (verdict.state, verdict.reasons, asked) == ("up", (), [(8001, "/health")])


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ("", "is booting: phase `start`, started 20 s ago"),
        (LOADING, "is booting: phase `load`, started 20 s ago"),
        (LOADING + SHARDS, "is booting: phase `load` 20 %, started 20 s ago"),
        (CommandError(["docker"], 1), "is booting: its phase is not known, started 20 s ago"),
        (
            LOADING + SERVING,
            "runs and does not answer: /health: connection refused (Docker's last check: starting)",
        ),
    ],
)
def test_an_engine_that_does_not_answer_yet_tells_its_phase_and_one_that_once_served_does_not(look, log, message):
    verdict, _ = look(answers=(REFUSED,), log=log)
    assert (verdict.state, said(verdict)) == ("degraded", [message])


def test_an_engine_that_was_healthy_is_not_booting(look):
    verdict, _ = look(answers=(REFUSED,), health="healthy", log=AssertionError("its log does not matter"))
    assert said(verdict) == ["runs and does not answer: /health: connection refused (Docker's last check: healthy)"]


def test_what_does_not_run_or_publishes_nothing_is_not_asked(look, make_state):
    assert look(state="exited", exit_code=1)[1] == []
    assert look(host_port=None)[1] == []
    assert look(others=[make_state("node-exporter")])[1] == [(8001, "/health")]


def test_a_service_that_was_just_started_gets_a_moment_where_there_is_patience(look):
    verdict, asked = look(answers=(REFUSED, GOOD))
    assert (verdict.state, len(asked)) == ("up", 2)


def test_what_was_left_out_is_not_missing_and_what_nobody_wants_is_not_left_out(look):
    facts = ProjectFacts(left_out={"grafana": "no registry answers", "prometheus": "old news"})
    toml = ALONE.replace("[services.grafana]\nenabled = false", "")
    verdict, _ = look(toml=toml, facts=facts)
    assert (verdict.state, verdict.left_out) == ("up", {"grafana": "no registry answers"})
    verdict, _ = look(toml=toml)
    assert [(reason.service, reason.message) for reason in verdict.reasons] == [("grafana", "its container is gone")]


def test_a_service_that_was_only_switched_on_is_drift_and_not_missing(look, monkeypatch):
    drift = module.Drift("grafana", "service", "enabled", None)
    monkeypatch.setattr(module, "find_drift", lambda session, status, rendered: (drift,))
    verdict, _ = look(toml=ALONE.replace("[services.grafana]\nenabled = false", ""))
    assert (verdict.state, verdict.drift) == ("up", (drift,))


def test_a_configuration_that_cannot_be_compared_takes_nothing_else_away(look, monkeypatch):
    def fail(session, status, rendered):
        raise ModelError("its manifest cannot be read")

    monkeypatch.setattr(module, "find_drift", fail)
    verdict, _ = look()
    assert verdict.state == "up"
    assert [(item.what, item.wanted) for item in verdict.drift] == [("configuration", "its manifest cannot be read")]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"services": 5}', '{"services": {"engine": 5}}', "{}"])
def test_an_override_that_is_damaged_says_nothing(tmp_path, text):
    path = tmp_path / "override.json"
    assert read_rendered(path) == {}
    path.write_text(text)
    assert read_rendered(path) == {}
    path.write_text(json.dumps({"services": {"engine": {"image": "x"}}}))
    assert read_rendered(path) == {"engine": {"image": "x"}}


def test_prometheus_is_asked_which_alerts_fire(look, make_state):
    alert = FiringAlert("GpuLost", "critical", "2026-11-21T21:00:00+00:00", "A GPU is gone", {})
    prometheus = make_state("prometheus", host_port=9090)
    asked = []
    verdict, _ = look(others=[prometheus], fetch=lambda port: asked.append(port) or (alert,))
    assert (asked, verdict.alerts, verdict.state) == ([9090], (alert,), "degraded")
    assert "prometheus/runbook.md" in verdict.reasons[0].hint


@pytest.mark.parametrize("changes", [{"state": "exited"}, {"host_port": None}])
def test_a_prometheus_that_does_not_run_or_publishes_nothing_is_not_asked(look, make_state, changes):
    prometheus = make_state("prometheus", **({"host_port": 9090} | changes))
    verdict, _ = look(others=[prometheus], fetch=lambda port: pytest.fail("it was asked"))
    assert verdict.alerts is None


def test_a_prometheus_that_does_not_tell_degrades_nothing(look, make_state):
    verdict, _ = look(others=[make_state("prometheus", host_port=9090)], fetch=lambda port: None)
    assert (verdict.state, verdict.alerts) == ("up", None)
