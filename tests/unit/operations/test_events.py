"""`stack events`: the past, what follows, and the alerts of Prometheus, on a daemon that answers from a table."""

from __future__ import annotations

import datetime
import itertools
import json

import pytest

from stack.containers.events import Happening
from stack.errors import HostError, ServiceApiError
from stack.operations import events as module
from stack.operations.events import AlertWatch, build_event_document, follow_events, read_events, render_event
from stack.telemetry.prometheus_api import Alert

NOW = datetime.datetime(2026, 11, 22, 1, 0, tzinfo=datetime.UTC)
HOUR = datetime.timedelta(hours=1)
SINCE = "2026-11-22T00:59:00.123456789Z"
FIRING = Alert({"alertname": "VllmDown", "severity": "critical"}, "firing", SINCE, "the engine does not answer")
STARTED = Happening(NOW, "engine", "started", "started")


@pytest.fixture
def run_on(monkeypatch, make_inspected, make_state, make_session):
    """A function: events and containers give a session on them; `followed` comes after them."""

    def call(events=(), states=(), followed=()):
        def stream(client, project, *, since, until=None):
            return iter(events if until is not None else followed)

        def read(client, project):
            return [make_inspected(state, project) for state in states]

        monkeypatch.setattr(module, "stream_events", stream)
        monkeypatch.setattr(module, "read_attributes", read)
        return make_session(connect=object)

    return call


@pytest.fixture
def prometheus(make_state):
    return make_state("prometheus", host_port=9091, started_at=NOW - datetime.timedelta(minutes=5))


def test_the_past_is_events_containers_and_the_alerts_that_are_active(run_on, prometheus):
    session = run_on([STARTED], [prometheus])
    told = read_events(session, since=HOUR, now=lambda: NOW, fetch_alerts=lambda port: (FIRING,))
    assert [(item.service, item.kind) for item in told] == [
        ("prometheus", "started"), ("engine", "started"), ("prometheus", "alert-firing"),
    ]  # fmt: skip
    assert told[-1].message == "alert VllmDown fires: the engine does not answer"
    assert told[-1].at == datetime.datetime(2026, 11, 22, 0, 59, 0, 123456, tzinfo=datetime.UTC)


def test_what_is_older_than_asked_for_is_left_out(run_on, prometheus):
    minute = datetime.timedelta(minutes=1)
    assert read_events(run_on([], [prometheus]), since=minute, now=lambda: NOW, fetch_alerts=lambda port: ()) == []


def test_a_prometheus_that_is_not_there_or_does_not_answer_is_no_fault(run_on, prometheus):
    def refuse(port):
        raise ServiceApiError("prometheus", "http://x", "no answer")

    def never(port):
        raise AssertionError("there is no Prometheus")

    assert read_events(run_on([STARTED]), since=HOUR, now=lambda: NOW, fetch_alerts=never) == [STARTED]
    told = read_events(run_on([STARTED], [prometheus]), since=HOUR, now=lambda: NOW, fetch_alerts=refuse)
    assert [item.kind for item in told] == ["started", "started"]


def test_following_gives_the_past_then_the_rest_and_ends_with_the_daemon(run_on):
    ended = Happening(NOW, "engine", "ended", "ended with exit status 1", 1)
    stream = follow_events(run_on([STARTED], [], [ended]), since=HOUR, now=lambda: NOW, fetch_alerts=lambda port: ())
    assert list(itertools.islice(stream, 2)) == [STARTED, ended]
    with pytest.raises(HostError, match="the Docker daemon ended its stream of events"):
        next(stream)


def test_alerts_are_told_when_they_change_and_not_in_between():
    watch = AlertWatch()
    pending = Alert(FIRING.labels, "pending", SINCE, FIRING.summary)
    kinds = [
        [item.kind for item in watch.take(alerts, NOW)]
        for alerts in ((), (pending,), (pending,), (FIRING,), (FIRING,), (), ())
    ]
    assert kinds == [[], ["alert-pending"], [], ["alert-firing"], [], ["alert-resolved"], []]


def test_two_alerts_of_one_name_are_two():
    other = Alert(FIRING.labels | {"instance": "b"}, "firing", "no time at all", "")
    told = AlertWatch().take((FIRING, other), NOW)
    assert [(item.at == NOW, item.message) for item in told] == [
        (False, "alert VllmDown fires: the engine does not answer"), (True, "alert VllmDown fires"),
    ]  # fmt: skip


def test_a_line_for_people_and_a_line_for_programs():
    ended = Happening(NOW, "engine", "ended", "ended with exit status 1", 1, "stack logs engine | stack explain -")
    assert render_event(ended) == (
        "2026-11-22T01:00:00Z  engine         ended with exit status 1; `stack logs engine | stack explain -`"
    )
    assert json.loads(json.dumps(build_event_document(ended))) == {
        "schema_version": 1, "at": "2026-11-22T01:00:00.000+00:00", "service": "engine", "kind": "ended",
        "message": "ended with exit status 1", "exit_code": 1, "hint": "stack logs engine | stack explain -",
    }  # fmt: skip
