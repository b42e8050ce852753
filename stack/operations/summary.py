"""The last words of `up` and the whole of `status`: what runs, as text. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence

from stack.checks.finding import Report
from stack.console import format_duration, render_table
from stack.operations.access import API_KEY, demands_key
from stack.operations.outcome import UpResult
from stack.operations.session import Session
from stack.operations.status import Status

_SLOWER = 1.5
_WORTH_TELLING_SECONDS = 2.0


def render_summary(
    session: Session, status: Status, up: UpResult | None = None, report: Report | None = None
) -> str:
    """Give the summary."""
    blocks = [_render_services(status)]
    if status.boot is not None:
        blocks.append("\n".join(_render_engine(session, status, up)))
    if up is not None and up.defaults:
        lines = [f"  {default.name} = {_show(default.value)}: {default.reason}" for default in up.defaults]
        blocks.append("chosen engine args\n" + "\n".join(lines))
    blocks.append(_render_smoke(status, report))
    if status.is_serving:
        blocks.append(render_curl(session, status))
    return "\n\n".join(block for block in blocks if block)


def render_curl(session: Session, status: Status) -> str:
    """Give a line that asks the model when it is pasted into a shell."""
    port = status.facts.ports["engine"]
    header = ""
    if demands_key(session.config):
        header = f" -H \"Authorization: Bearer $(cat '{session.paths.secrets / API_KEY}')\""
    body = {
        "model": status.served_name,
        "messages": [{"role": "user", "content": "What is the capital of Germany?"}],
        "max_tokens": 64,
        "temperature": 0,
    }
    text = json.dumps(body, ensure_ascii=True).replace("'", "\\u0027")
    return f"curl -s http://127.0.0.1:{port}/v1/chat/completions{header} -H 'Content-Type: application/json' -d '{text}'"


def _render_services(status: Status) -> str:
    if not status.services:
        return f"project `{status.project}`: nothing runs"
    rows = [
        (item.name, item.state if item.health is None else f"{item.state}, {item.health}", item.url or "-")
        for item in status.services
    ]
    return render_table(rows, ("SERVICE", "STATE", "URL"))


def _render_engine(session: Session, status: Status, up: UpResult | None) -> list[str]:
    assert status.boot is not None
    start = status.boot.start
    lines = [
        f"model     {start.model} @ {start.revision or 'no revision'}, served as `{status.served_name}`",
        f"vLLM      commit {start.commit or 'unknown'} ({start.commit_level}), version {start.version or 'unknown'}",
        f"image     {start.image_digest or start.image_id + ' (image ID; built here, so no digest)'}",
    ]
    if up is not None and up.identity is not None:
        lines.append(f"          {up.identity.identity.rests_on}")
    phases = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in status.boot.phases.items())
    total = status.boot.total_seconds
    if total is not None:
        caches = {"warm": "caches warm", "cold": "caches cold"}.get(status.boot.cache_state)
        if "--enforce-eager" in start.args.get("argv", []):
            caches = "eager, nothing to compile"
        lines.append(f"boot      {format_duration(total)} ({caches or 'caches not told'}): {phases}")
    if up is not None and up.boot is not None:
        lines += _render_slower(up)
        lines.append(f"          log {up.boot.log_path}")
    return lines


def _render_slower(up: UpResult) -> Sequence[str]:
    assert up.boot is not None
    return [
        f"          {delta.phase} took {delta.seconds:.1f} s, {delta.previous_seconds:.1f} s in the last boot of this kind"
        for delta in up.boot.deltas
        if delta.ratio is not None
        and delta.seconds is not None
        and delta.previous_seconds is not None
        and delta.ratio > _SLOWER
        and delta.seconds - delta.previous_seconds > _WORTH_TELLING_SECONDS
    ]


def _render_smoke(status: Status, report: Report | None) -> str:
    if report is not None:
        failed = [finding for finding in report.findings if finding.status == "fail"]
        skipped = [finding for finding in report.findings if finding.status == "skip"]
        verdict = f"smoke     {'passed' if report.is_passed else 'FAILED'}: "
        verdict += f"{report.count('pass')} passed, {len(failed)} failed, {report.count('warn')} warned, "
        verdict += f"{len(skipped)} skipped in {report.seconds:.1f} s"
        lines = [
            f"          {finding.status} {finding.check}: {finding.message}" for finding in failed + skipped
        ]
        return "\n".join([verdict, *lines])
    if status.smoke is None:
        return "smoke     not run; `stack smoke` runs it" if status.is_serving else ""
    word = "passed" if status.smoke.passed else "FAILED"
    return f"smoke     {word} at {status.smoke.started_at:%Y-%m-%d %H:%M:%S} UTC"


def _show(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
