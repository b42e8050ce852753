"""What happens to a project's containers: the daemon's events, and what their inspect documents still tell.

The daemon keeps its last 256 events only, and every health check makes three (moby, daemon/events: `eventsLimit`): of
an hour ago the containers' own documents know more than its events do.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import docker

from stack.containers.daemon import LABEL_PROJECT as COMPOSE_PROJECT
from stack.containers.daemon import LABEL_SERVICE, ServiceState, parse_time, translated
from stack.containers.exits import describe_exit
from stack.containers.render import LABEL_PROJECT

_SAID = {
    "started": "started",
    "restarted": "was started again",
    "paused": "was paused",
    "resumed": "goes on after a pause",
    "removed": "its container was removed",
    "out-of-memory": "the kernel killed a process of it for memory",
    "healthy": "became healthy",
    "unhealthy": "became unhealthy",
}
_KINDS = {
    "start": "started",
    "pause": "paused",
    "unpause": "resumed",
    "destroy": "removed",
    "oom": "out-of-memory",
    "health_status: healthy": "healthy",
    "health_status: unhealthy": "unhealthy",
}
_SAME_SECONDS = 2.0


@dataclass(frozen=True)
class Happening:
    """One thing that happened to a service.

    Attributes:
        at: When, in UTC.
        service: The Compose service.
        kind: `started`, `restarted`, `ended`, `out-of-memory`, `healthy`, `unhealthy`, `paused`, `resumed` or
            `removed`; of Prometheus' alerts `alert-pending`, `alert-firing` and `alert-resolved`.
        message: What happened, in words.
        exit_code: The exit status of what ended.
        hint: The next command.
    """

    at: datetime.datetime
    service: str
    kind: str
    message: str
    exit_code: int | None = None
    hint: str | None = None


class EventReader:
    """Turns the daemon's events into happenings; remembers which containers ended, to tell a restart from a start."""

    def __init__(self, project: str) -> None:
        self._project = project
        self._ended: set[str] = set()

    def read(self, event: Mapping[str, Any]) -> Happening | None:
        """Give what an event tells, or None where it is of no interest or of a container that is not ours."""
        actor = event.get("Actor") or {}
        attributes = actor.get("Attributes") or {}
        service = attributes.get(LABEL_SERVICE)
        if attributes.get(LABEL_PROJECT) != self._project or not service:
            return None
        container, action = str(actor.get("ID", "")), str(event.get("Action", "")).strip()
        at = datetime.datetime.fromtimestamp(int(event.get("timeNano", 0)) / 1e9, datetime.UTC)
        if action == "die":
            self._ended.add(container)
            return build_end(at, service, int(attributes.get("exitCode") or 0))
        kind = _KINDS.get(action)
        if kind == "started" and container in self._ended:
            kind = "restarted"
        if kind is None:
            return None
        hint = f"stack logs {service}" if kind in ("unhealthy", "out-of-memory") else None
        return Happening(at, service, kind, _SAID[kind], hint=hint)


def build_end(at: datetime.datetime, service: str, exit_code: int, *, was_oom_killed: bool = False) -> Happening:
    """Give the end of a container, with the command that explains it."""
    said = describe_exit(service, exit_code, was_oom_killed=was_oom_killed)
    return Happening(at, service, "ended", said.message, exit_code, said.hint)


def read_remembered(states: Iterable[tuple[ServiceState, datetime.datetime | None]]) -> list[Happening]:
    """Give the last start and the last end of containers, which outlive the daemon's events.

    Args:
        states: Each container with the time of its last end, or None.
    """
    found = []
    for state, ended_at in states:
        if state.started_at is not None:
            kind = "restarted" if state.restart_count else "started"
            times = f" (restart {state.restart_count})" if state.restart_count else ""
            found.append(Happening(state.started_at, state.name, kind, _SAID[kind] + times))
        if ended_at is not None and (state.started_at is None or ended_at > state.started_at):
            found.append(build_end(ended_at, state.name, state.exit_code, was_oom_killed=state.was_oom_killed))
    return found


def merge(events: Iterable[Happening], remembered: Iterable[Happening]) -> list[Happening]:
    """Give both in the order of time, each happening once."""
    merged = list(events)
    for item in remembered:
        if not any(_is_same(item, other) for other in merged):
            merged.append(item)
    return sorted(merged, key=lambda item: item.at)


def read_end_time(attributes: Mapping[str, Any]) -> datetime.datetime | None:
    """Give when a container last ended, from its inspect document."""
    return parse_time(attributes["State"].get("FinishedAt") or "")


def stream_events(
    client: docker.DockerClient,
    project: str,
    *,
    since: datetime.datetime,
    until: datetime.datetime | None = None,
) -> Iterator[Happening]:
    """Give what happened since a moment; without `until` it goes on as long as the daemon does.

    Raises:
        CommandError: The daemon refused or broke off.
    """
    reader = EventReader(project)
    filters = {"type": "container", "label": f"{COMPOSE_PROJECT}={project}"}
    with translated(f"following the events of project {project}"):
        events = client.events(
            since=since.timestamp(), until=until.timestamp() if until else None, filters=filters, decode=True
        )
        for event in events:
            happening = reader.read(event)
            if happening is not None:
                yield happening


def _is_same(one: Happening, other: Happening) -> bool:
    starts = {"started", "restarted"}
    same_kind = one.kind == other.kind or {one.kind, other.kind} <= starts
    return one.service == other.service and same_kind and abs((one.at - other.at).total_seconds()) < _SAME_SECONDS
