"""Is the stack up, and if not, what is wrong with it: judged from what Docker and the services say. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from stack.containers.daemon import ServiceState
from stack.containers.exits import Exit, describe_exit, hint_log
from stack.containers.layout import SERVICES
from stack.containers.ownership import Foreign
from stack.history.records import SmokeRecord
from stack.telemetry.firing import FiringAlert
from stack.traffic.health import Probe

UP, DEGRADED, DOWN, FOREIGN = "up", "degraded", "down", "foreign"
SETTLED_SECONDS = 600
"""A restart longer ago than this is over: compose/engine/serve.sh counts crashes in a row in the same way."""

# Of these `status` asks the engine and the history itself, and knows of their end before Prometheus does.
_JUDGED_HERE = ("VllmEngineDown", "StackSmokeFailing", "VllmNumericDrift")
_ALIVE = ("running", "restarting", "paused")


@dataclass(frozen=True)
class Reason:
    """One thing that keeps a stack from being up.

    Attributes:
        service: The Compose service, or None where it is about the whole stack.
        message: What is wrong, one sentence.
        hint: The next command.
    """

    service: str | None
    message: str
    hint: str


@dataclass(frozen=True)
class Seen:
    """Everything that is judged.

    Attributes:
        project: The Compose project.
        services: The project's own containers.
        expected: Services that should run.
        probes: What the services answered, where they were asked.
        foreign: Containers that only bear the project's name.
        phase: What an engine that does not answer yet is doing, by its own log; None where it is not booting.
        smoke: The last smoke run of the last boot, or None.
        alerts: The alerts that fire.
        runbook: The file that says what each alert means.
        now: The time, in UTC.
    """

    project: str
    services: Mapping[str, ServiceState]
    expected: Iterable[str]
    probes: Mapping[str, Probe] = field(default_factory=dict)
    foreign: tuple[Foreign, ...] = ()
    phase: str | None = None
    smoke: SmokeRecord | None = None
    alerts: tuple[FiringAlert, ...] = ()
    runbook: str = "prometheus/runbook.md"
    now: datetime.datetime = field(default_factory=lambda: datetime.datetime.now(datetime.UTC))


def judge(seen: Seen) -> tuple[str, tuple[Reason, ...]]:
    """Give the overall state (`up`, `degraded`, `down` or `foreign`) and what is wrong."""
    others = [
        Reason(None, f"container `{item.name}` bears this project's name, but {item.why}", f"docker rm -f {item.name}")
        for item in seen.foreign
    ]
    if not any(state.state in _ALIVE for state in seen.services.values()):
        ended = [reason for state in _in_order(seen.services) if (reason := _judge_ended(state))]
        return (FOREIGN if others else DOWN), (*others, *ended)
    reasons = [reason for state in _in_order(seen.services) for reason in _judge_service(state, seen)]
    reasons += [
        Reason(name, "its container is gone", "stack up") for name in seen.expected if name not in seen.services
    ]
    if seen.smoke is not None and not seen.smoke.passed:
        reasons.append(_judge_smoke(seen.smoke))
    reasons += _judge_alerts(seen)
    reasons += others
    return (DEGRADED if reasons else UP), tuple(reasons)


def describe_reasons(reasons: Iterable[Reason]) -> str:
    """Give reasons in one sentence."""
    return "; ".join(f"{reason.service} {reason.message}" if reason.service else reason.message for reason in reasons)


def _in_order(services: Mapping[str, ServiceState]) -> list[ServiceState]:
    return [services[name] for name in SERVICES if name in services]


def _judge_ended(state: ServiceState) -> Reason | None:
    """Tell of a container that is there and does not run; one that was asked to stop ended well."""
    if state.state == "created":
        return Reason(state.name, f"was never started{_error(state)}", "stack up")
    return None if _read_exit(state).was_asked else _tell_end(state)


def _judge_service(state: ServiceState, seen: Seen) -> list[Reason]:
    name = state.name
    if state.state == "created":
        return [Reason(name, f"was never started{_error(state)}", "stack up")]
    if state.state == "paused":
        return [Reason(name, "is paused", f"docker unpause {state.container_id[:12]}")]
    if state.state == "restarting":
        times = _count(state.restart_count)
        return [Reason(name, f"{_read_exit(state).message}; Docker starts it again ({times} so far)", hint_log(name))]
    if state.state != "running":
        return [_tell_end(state)]
    return [*_judge_answers(state, seen), *_judge_past(state, seen.now)]


def _read_exit(state: ServiceState) -> Exit:
    return describe_exit(state.name, state.exit_code, was_oom_killed=state.was_oom_killed, error=state.error)


def _tell_end(state: ServiceState) -> Reason:
    end = _read_exit(state)
    return Reason(state.name, end.message, end.hint)


def _judge_answers(state: ServiceState, seen: Seen) -> list[Reason]:
    name, probe = state.name, seen.probes.get(state.name)
    if probe is not None and not probe.is_answering:
        if name == "engine" and seen.phase is not None:
            return [Reason(name, f"is booting: {seen.phase}", "stack logs engine --follow")]
        health = "" if state.health is None else f" (Docker's last check: {state.health})"
        return [Reason(name, f"runs and does not answer: {probe.said}{health}", f"stack logs {name}")]
    if state.health == "unhealthy":
        return [Reason(name, "runs and Docker's health check fails", f"stack logs {name}")]
    if state.health == "starting" and probe is None:
        return [Reason(name, "is starting: Docker's health check has not passed yet", f"stack logs {name}")]
    return []


def _judge_past(state: ServiceState, now: datetime.datetime) -> list[Reason]:
    """Tell of restarts that may still go on, and of memory."""
    age = (now - state.started_at).total_seconds() if state.started_at else 0.0
    if state.restart_count and age < SETTLED_SECONDS:
        said = f"was restarted {_count(state.restart_count)}, the last time {max(0.0, age):.0f} s ago"
        memory = "; the kernel killed it for its memory" if state.was_oom_killed else ""
        return [Reason(state.name, said + memory, hint_log(state.name))]
    if state.was_oom_killed:
        return [Reason(state.name, "runs, and the kernel killed a process of it for memory", hint_log(state.name))]
    return []


def _judge_smoke(smoke: SmokeRecord) -> Reason:
    failed = [str(item.get("check")) for item in smoke.report.get("checks", []) if item.get("status") == "fail"]
    named = f" ({', '.join(failed)})" if failed else ""
    return Reason(
        "engine", f"the last smoke test failed at {smoke.started_at:%Y-%m-%d %H:%M:%S} UTC{named}", "stack smoke"
    )


def _judge_alerts(seen: Seen) -> list[Reason]:
    """Tell of critical alerts, each once, however many models or GPUs it is about."""
    told = {
        alert.name: alert
        for alert in reversed(seen.alerts)
        if alert.severity == "critical" and alert.name not in _JUDGED_HERE
    }
    return [
        Reason(None, f"alert {alert.name} fires since {describe_since(alert)}: {alert.summary}", _hint(alert, seen))
        for alert in reversed(told.values())
    ]


def _hint(alert: FiringAlert, seen: Seen) -> str:
    return f"less -p '## {alert.name}' {seen.runbook}"


def describe_since(alert: FiringAlert) -> str:
    """Say since when an alert fires, or waited to fire."""
    return f"{alert.since.replace('T', ' ').removesuffix('+00:00')} UTC"


def _count(times: int) -> str:
    return "once" if times == 1 else f"{times} times"


def _error(state: ServiceState) -> str:
    return f": {state.error}" if state.error else ""
