"""What the containers of a project amount to: ask the services, judge, and look for drift."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker

from stack.assets import asset_path
from stack.containers.daemon import ServiceState
from stack.containers.log_stream import read_log
from stack.errors import CommandError, StackError
from stack.operations.images.wanted import list_services
from stack.operations.session import Session
from stack.operations.status.drift import Drift, find_drift
from stack.operations.status.judge import Reason, Seen, judge
from stack.operations.status.read import Status
from stack.telemetry.firing import FiringAlert, fetch_firing
from stack.traffic.health import Probe, probe_health

RUNBOOK = asset_path("prometheus", "runbook.md")
HEALTH_PAGES = {"engine": "/health", "prometheus": "/-/ready", "grafana": "/api/health"}
_PROBE_SECONDS = 2.0
_ALERTS_SECONDS = 0.3
_RETRY_SECONDS = 0.25
Ask = Callable[[int, str], Probe]
FetchFiring = Callable[[int], tuple[FiringAlert, ...] | None]


@dataclass(frozen=True)
class Verdict:
    """What a project's containers amount to.

    Attributes:
        state: `up`, `degraded`, `down` or `foreign`.
        reasons: What keeps it from being up.
        drift: In what it differs from configuration and lock.
        left_out: Services that cannot run on this machine, with the reason.
        alerts: The alerts that fire, the worst first; None where Prometheus does not tell.
    """

    state: str
    reasons: tuple[Reason, ...]
    drift: tuple[Drift, ...]
    left_out: Mapping[str, str]
    alerts: tuple[FiringAlert, ...] | None = None


def read_verdict(
    session: Session,
    status: Status,
    client: docker.DockerClient,
    *,
    patience_seconds: float = 0.0,
    ask: Ask | None = None,
    fetch: FetchFiring | None = None,
    now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
) -> Verdict:
    """Ask the services that run, and judge.

    Args:
        session: The run.
        status: What runs.
        client: A connection to the daemon.
        patience_seconds: How long a service that was just started may take to answer.
        ask: Asks a port for a page; None asks for real.
        fetch: Gives the alerts that fire by the Prometheus on a port; None asks for real.
        now: The time, in UTC.
    """
    device = status.engine.device if status.engine is not None else "cpu"
    wanted = list_services(session.config, device)
    left_out = {name: why for name, why in status.facts.left_out.items() if name in wanted and name not in status.found}
    probes, alerts, drift = _look(session, status, ask or _ask_for_real, fetch, patience_seconds)
    new = {item.service for item in drift if item.what == "service"}
    expected = [name for name in wanted if name not in left_out and name not in new]
    state, reasons = judge(
        Seen(
            project=session.project,
            services=status.states,
            expected=expected,
            probes=probes,
            foreign=status.foreign,
            phase=_read_phase(client, status.states.get("engine"), probes.get("engine"), now()),
            smoke=status.smoke,
            alerts=alerts or (),
            runbook=str(RUNBOOK),
            now=now(),
        )
    )
    return Verdict(state, reasons, drift, left_out, alerts)


def _look(
    session: Session, status: Status, ask: Ask, fetch: FetchFiring | None, patience_seconds: float
) -> tuple[dict[str, Probe], tuple[FiringAlert, ...] | None, tuple[Drift, ...]]:
    """Ask all services side by side, and look for drift meanwhile."""
    prometheus = status.states.get("prometheus")
    with ThreadPoolExecutor(max_workers=len(HEALTH_PAGES) + 1) as pool:
        firing = pool.submit(_fetch_firing, prometheus, fetch)
        answers = {
            name: pool.submit(_ask, ask, port, HEALTH_PAGES[name], patience_seconds)
            for name, port in _list_asked(status)
        }
        drift = _find_drift(session, status, read_rendered(session.paths.override))
        return {name: answer.result() for name, answer in answers.items()}, firing.result(), drift


def _ask_for_real(port: int, page: str) -> Probe:
    return probe_health(port, page, timeout_seconds=_PROBE_SECONDS)


def _fetch_firing(prometheus: ServiceState | None, fetch: FetchFiring | None) -> tuple[FiringAlert, ...] | None:
    if prometheus is None or prometheus.state != "running" or prometheus.host_port is None:
        return None
    fetcher = fetch or (lambda port: fetch_firing(port, timeout_seconds=_ALERTS_SECONDS))
    return fetcher(prometheus.host_port)


def _list_asked(status: Status) -> Iterator[tuple[str, int]]:
    for name, state in status.states.items():
        if name in HEALTH_PAGES and state.state == "running" and state.host_port is not None:
            yield name, state.host_port


def read_rendered(override: Path) -> dict[str, Any]:
    """Give the services of the rendered override; none where it is not there or cannot be read."""
    try:
        services = json.loads(override.read_text())["services"]
        return {name: service for name, service in services.items() if isinstance(service, dict)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _find_drift(session: Session, status: Status, rendered: Mapping[str, Any]) -> tuple[Drift, ...]:
    try:
        return find_drift(session, status, rendered)
    except StackError as err:
        # What runs is still worth telling where the configuration names what cannot be had.
        return (Drift("engine", "configuration", err.message, None),)


def _ask(ask: Ask, port: int, page: str, patience_seconds: float) -> Probe:
    deadline = time.monotonic() + patience_seconds
    while True:
        probe = ask(port, page)
        if probe.is_answering or time.monotonic() >= deadline:
            return probe
        time.sleep(_RETRY_SECONDS)


def _read_phase(
    client: docker.DockerClient, engine: ServiceState | None, probe: Probe | None, now: datetime.datetime
) -> str | None:
    """Say what an engine is doing that Docker's health check has not seen well since its start; else None."""
    if engine is None or engine.health != "starting" or probe is None or probe.is_answering:
        return None
    from stack.containers.boot_log import BootLog, parse_progress

    age = f", started {(now - engine.started_at).total_seconds():.0f} s ago" if engine.started_at else ""
    try:
        text = read_log(client, engine.container_id, since=engine.started_at)
    except CommandError:
        return f"its phase is not known{age}"
    log, percent = BootLog(), None
    for line in text.splitlines():
        if log.add(line, 0.0):
            percent = None
        percent = parse_progress(line) or percent
    if log.serving_at_seconds is not None:
        return None
    shown = f" {percent} %" if percent is not None else ""
    return f"phase `{log.current}`{shown}{age}"
