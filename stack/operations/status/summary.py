"""The last words of `up` and the whole of `status`: what runs, as text. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stack.console_lines import format_duration, render_table
from stack.operations.access import API_KEY, demands_key
from stack.operations.project import container_stamp
from stack.operations.session import Session
from stack.operations.status.drift import Drift
from stack.operations.status.judge import DOWN, describe_since
from stack.operations.status.read import Status
from stack.operations.status.verdict import RUNBOOK, Verdict
from stack.operations.up.timeline import render_timeline

if TYPE_CHECKING:
    # `status` is quick, and this would bring in all that `up` needs.
    from stack.checks.finding import Report
    from stack.operations.up.outcome import UpResult

_SLOWER = 1.5
_WORTH_TELLING_SECONDS = 2.0


def render_summary(
    session: Session, status: Status, verdict: Verdict, up: UpResult | None = None, report: Report | None = None
) -> str:
    """Give the summary."""
    blocks = [render_verdict(status, verdict), _render_services(status, verdict)]
    if status.engine is not None:
        blocks.append("\n".join(_render_engine(status, up)))
    if up is not None and up.defaults:
        lines = [f"  {default.name} = {_show(default.value)}: {default.reason}" for default in up.defaults]
        blocks.append("chosen engine args\n" + "\n".join(lines))
    if up is not None and up.plan.steps:
        blocks.append("\n".join(["steps of this `up`", *(f"  {line}" for line in render_timeline(up.timeline.steps))]))
    blocks.append("\n".join([*_render_smoke(status, report), *_render_alerts(verdict), *_render_places(session)]))
    if status.is_serving:
        blocks.append(render_curl(session, status))
    return "\n\n".join(block for block in blocks if block)


def render_verdict(status: Status, verdict: Verdict) -> str:
    """Give the overall state, what is wrong and what differs, each with the command that mends it."""
    said = "nothing runs" if verdict.state == DOWN else verdict.state
    lines = [f"project `{status.project}`: {said}"]
    for reason in verdict.reasons:
        who = f"{reason.service}: " if reason.service else ""
        lines.append(f"  {who}{reason.message}; `{reason.hint}`")
    if verdict.drift:
        lines.append("what runs is not what stack.toml and stack.lock say; `stack up` mends it")
        lines += [f"  {_render_drift(drift)}" for drift in verdict.drift]
    return "\n".join(lines)


def _render_drift(drift: Drift) -> str:
    wanted = "not wanted" if drift.wanted is None else f"`{drift.wanted}` wanted"
    found = "missing" if drift.found is None else f"`{drift.found}` found"
    return f"{drift.service}: {drift.what}: {wanted}, {found}"


def render_curl(session: Session, status: Status) -> str:
    """Give a line that asks the model when it is pasted into a shell."""
    url = f"http://127.0.0.1:{status.ports['engine']}/v1/chat/completions"
    headers = ["'Content-Type: application/json'"]
    if demands_key(session.config):
        headers.append(f"\"Authorization: Bearer $(cat '{session.paths.secrets / API_KEY}')\"")
    body = {
        "model": status.served_name,
        "messages": [{"role": "user", "content": "What is the capital of Germany?"}],
        "max_tokens": 64,
        "temperature": 0,
    }
    text = json.dumps(body, ensure_ascii=True).replace("'", "\\u0027")
    return f"curl -s {url} {' '.join(f'-H {header}' for header in headers)} -d '{text}'"


def _render_services(status: Status, verdict: Verdict) -> str:
    if not status.services:
        return ""
    rows = [
        (item.name, item.state if item.health is None else f"{item.state}, {item.health}", item.url or "-")
        for item in status.services
    ]
    rows += [(name, "left out", reason) for name, reason in verdict.left_out.items()]
    return render_table(rows, ("SERVICE", "STATE", "URL"))


def _render_engine(status: Status, up: UpResult | None) -> list[str]:
    engine = status.engine
    assert engine is not None
    rests_on = f": {up.identity.identity.rests_on}" if up is not None and up.identity is not None else ""
    lines = [
        f"model     {engine.model} @ {_shorten(engine.revision)}, served as `{engine.served_name}`",
        f"vLLM      commit {engine.commit or 'unknown'} ({engine.commit_level}), version {engine.version or 'unknown'}",
        f"          {engine.commit_level}{rests_on}" if rests_on else "",
        f"image     {status.states['engine'].image}",
        f"          {_describe_digest(engine.image_digest, engine.image_id)}",
    ]
    return [line for line in [*lines, *_render_boot(status, up)] if line]


def _render_boot(status: Status, up: UpResult | None) -> list[str]:
    boot = status.boot
    if boot is None:
        return []
    if boot.total_seconds is None:
        return ["boot      not finished"]
    caches = {"warm": "caches warm", "cold": "caches cold", "none": "eager, nothing to compile"}
    phases = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in boot.phases.items())
    told = caches.get(boot.cache_state, "the log does not tell of caches")
    lines = [f"boot      {format_duration(boot.total_seconds)} ({told}): {phases}"]
    if up is not None and up.boot is not None:
        lines += _render_slower(up)
        if up.boot.warm_seconds >= 1:
            warm = format_duration(up.boot.warm_seconds)
            lines.append(f"          then {warm} for the first request of each kind, so that smoke waits for none")
    engine = status.states.get("engine")
    if up is None and engine is not None and status.facts.ready_container != container_stamp(engine):
        lines.append("          the engine was started again since; these are the phases of the boot before")
    return [*lines, f"          log {boot.start.log_path}"]


def _render_slower(up: UpResult) -> Sequence[str]:
    assert up.boot is not None
    return [
        f"          {delta.phase} took {delta.seconds:.1f} s, in the last boot of this kind "
        f"{delta.previous_seconds:.1f} s"
        for delta in up.boot.deltas
        if delta.seconds is not None
        and delta.previous_seconds is not None
        and delta.seconds > _SLOWER * delta.previous_seconds
        and delta.seconds - delta.previous_seconds > _WORTH_TELLING_SECONDS
    ]


def _render_smoke(status: Status, report: Report | None) -> list[str]:
    if report is not None:
        failed = [finding for finding in report.findings if finding.status == "fail"]
        skipped = [finding for finding in report.findings if finding.status == "skip"]
        verdict = f"smoke     {'passed' if report.is_passed else 'FAILED'}: "
        verdict += f"{report.count('pass')} passed, {len(failed)} failed, {report.count('warn')} warned, "
        verdict += f"{len(skipped)} skipped in {report.seconds:.1f} s"
        told = failed + skipped
        return [
            verdict,
            *(f"          {finding.status} {finding.check}: {finding.message}" for finding in told),
        ]
    if status.smoke is None:
        return ["smoke     not run; `stack smoke` runs it"] if status.is_serving else []
    word = "passed" if status.smoke.passed else "FAILED"
    return [f"smoke     {word} at {status.smoke.started_at:%Y-%m-%d %H:%M:%S} UTC"]


def _render_alerts(verdict: Verdict) -> list[str]:
    """Give the alerts that fire, one line for each name."""
    if not verdict.alerts:
        return []
    named = Counter(alert.name for alert in verdict.alerts)
    first = {alert.name: alert for alert in reversed(verdict.alerts)}
    lines = [f"alerts    {len(named)} firing; each has a heading in {RUNBOOK}"]
    for name in named:
        alert, times = first[name], f" {named[name]} times" if named[name] > 1 else ""
        severity = alert.severity or "no severity"
        lines.append(f"          {name} ({severity}){times} since {describe_since(alert)}: {alert.summary}")
    return lines


def _render_places(session: Session) -> list[str]:
    path = session.loaded.path
    return [f"config    {path or 'defaults, no stack.toml'}", f"state     {session.paths.state}"]


def _describe_digest(digest: str | None, image_id: str) -> str:
    return digest if digest else f"{image_id} (image ID; it was made here, so it has no digest)"


def _shorten(revision: str | None) -> str:
    # A commit hash is told whole: people paste it. A digest over our own files is long and says little.
    if revision is None:
        return "no revision"
    return revision.removeprefix("sha256:")[:12] if revision.startswith("sha256:") else revision


def _show(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
