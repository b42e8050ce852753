"""`stack events`: what happens to the stack's containers, and the alerts of its Prometheus."""

from __future__ import annotations

import datetime
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import docker

from stack.containers.events import Happening, merge, read_end_time, read_remembered, stream_events
from stack.containers.ownership import Found, read_attributes, sort_containers
from stack.errors import CommandError, HostError, ServiceApiError, StackError
from stack.operations.session import Session
from stack.telemetry.prometheus_api import Alert, PrometheusApi

SCHEMA_VERSION = 1
_POLL_SECONDS = 5.0
_KINDS = {"firing": "alert-firing", "pending": "alert-pending"}
Now = Callable[[], datetime.datetime]
FetchAlerts = Callable[[int], tuple[Alert, ...]]


class AlertWatch:
    """Tells what changed between two looks at the alerts."""

    def __init__(self) -> None:
        self._known: dict[tuple[tuple[str, str], ...], Alert] = {}

    def take(self, alerts: tuple[Alert, ...], now: datetime.datetime) -> list[Happening]:
        """Give what is new, what changed its state, and what is over."""
        current = {tuple(sorted(alert.labels.items())): alert for alert in alerts}
        told = [
            _describe_alert(alert, now, _KINDS.get(alert.state, "alert-pending"))
            for key, alert in current.items()
            if key not in self._known or self._known[key].state != alert.state
        ]
        told += [
            _describe_alert(alert, now, "alert-resolved", at=now)
            for key, alert in self._known.items()
            if key not in current
        ]
        self._known = current
        return told


def read_events(
    session: Session, *, since: datetime.timedelta, now: Now, fetch_alerts: FetchAlerts | None = None
) -> list[Happening]:
    """Give what Docker still knows of, from some time ago until now, and the alerts that are active now.

    Args:
        session: The run.
        since: How long ago to begin.
        now: The time, in UTC.
        fetch_alerts: Gives the alerts of the Prometheus on a port; None asks for real.
    """
    client = session.connect()
    until = now()
    begin = until - since
    events = list(stream_events(client, session.project, since=begin, until=until))
    ours, _ = sort_containers(read_attributes(client, session.project), session.project, session.paths.state)
    remembered = read_remembered([(found.state, read_end_time(found.attributes)) for found in ours.values()])
    told = merge(events, [item for item in remembered if item.at >= begin])
    alerts = _fetch(fetch_alerts or fetch_prometheus_alerts, ours)
    return told + (AlertWatch().take(alerts, until) if alerts else [])


def follow_events(
    session: Session,
    *,
    since: datetime.timedelta,
    now: Now,
    fetch_alerts: FetchAlerts | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Happening]:
    """Give what Docker still knows of since some time ago, and then each thing as it happens.

    Raises:
        StackError: The daemon ended; it is the caller who is interrupted otherwise.
    """
    begin = now()
    yield from read_events(session, since=since, now=lambda: begin, fetch_alerts=lambda port: ())
    told: queue.Queue[Happening | StackError] = queue.Queue()
    # A daemon: what waits for Docker's stream cannot be called back.
    threading.Thread(target=_follow_containers, args=(session, begin, told), daemon=True).start()
    client, watch, looked_at = session.connect(), AlertWatch(), clock() - _POLL_SECONDS
    while True:
        if clock() - looked_at >= _POLL_SECONDS:
            yield from _look_at_alerts(session, client, watch, now, fetch_alerts or fetch_prometheus_alerts)
            looked_at = clock()
        try:
            item = told.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            continue
        if isinstance(item, StackError):
            raise item
        yield item


def fetch_prometheus_alerts(port: int) -> tuple[Alert, ...]:
    """Give the alerts of the Prometheus on a port of this machine.

    Raises:
        ServiceApiError: It does not answer.
    """
    import httpx2

    with httpx2.Client(trust_env=False) as http:
        return PrometheusApi(http, f"http://127.0.0.1:{port}").fetch_alerts()


def build_event_document(happening: Happening) -> dict[str, Any]:
    """Give one line of `stack events --json`: `at`, `service`, `kind`, `message`, `exit_code` and `hint`."""
    return {
        "schema_version": SCHEMA_VERSION,
        "at": happening.at.isoformat(timespec="milliseconds"),
        "service": happening.service,
        "kind": happening.kind,
        "message": happening.message,
        "exit_code": happening.exit_code,
        "hint": happening.hint,
    }


def render_event(happening: Happening) -> str:
    """Give one line of `stack events`."""
    hint = f"; `{happening.hint}`" if happening.hint else ""
    return f"{happening.at:%Y-%m-%dT%H:%M:%SZ}  {happening.service:<13}  {happening.message}{hint}"


def _follow_containers(session: Session, begin: datetime.datetime, told: queue.Queue[Happening | StackError]) -> None:
    try:
        for happening in stream_events(session.connect(), session.project, since=begin):
            told.put(happening)
        told.put(HostError("the Docker daemon ended its stream of events", hint="`stack status` tells whether it runs"))
    except StackError as err:
        told.put(err)


def _look_at_alerts(
    session: Session, client: docker.DockerClient, watch: AlertWatch, now: Now, fetch_alerts: FetchAlerts
) -> list[Happening]:
    """Give what changed; Prometheus may come, go and change its port meanwhile."""
    try:
        ours, _ = sort_containers(read_attributes(client, session.project), session.project, session.paths.state)
    except CommandError:
        # Of a daemon that is gone the stream of events tells.
        return []
    alerts = _fetch(fetch_alerts, ours)
    return watch.take(alerts, now()) if alerts is not None else []


def _fetch(fetch_alerts: FetchAlerts, ours: Mapping[str, Found]) -> tuple[Alert, ...] | None:
    """Give the alerts, or None where no Prometheus answers: nothing is known then, not even that they are over."""
    found = ours.get("prometheus")
    if found is None or found.state.state != "running" or found.state.host_port is None:
        return None
    try:
        return fetch_alerts(found.state.host_port)
    except ServiceApiError:
        return None


def _describe_alert(
    alert: Alert, now: datetime.datetime, kind: str, *, at: datetime.datetime | None = None
) -> Happening:
    name = alert.labels.get("alertname", "alert")
    verb = {"alert-firing": "fires", "alert-pending": "is pending", "alert-resolved": "is over"}[kind]
    summary = f": {alert.summary}" if alert.summary and kind != "alert-resolved" else ""
    return Happening(at or parse_time(alert.active_at) or now, "prometheus", kind, f"alert {name} {verb}{summary}")


def parse_time(text: str) -> datetime.datetime | None:
    """Give a time as Prometheus writes it, or None."""
    try:
        return datetime.datetime.fromisoformat(text).astimezone(datetime.UTC)
    except ValueError:
        return None
