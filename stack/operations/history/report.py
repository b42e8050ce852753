"""`stack report`: a run as JUnit XML, and as what its page shows. Pure."""

from __future__ import annotations

import datetime
import json
import shlex
from collections.abc import Sequence

from stack import __version__
from stack.checks.finding import Report
from stack.checks.report import render_junit
from stack.history.page import Page, Role, render_page
from stack.history.query import BOOT, Entry
from stack.operations.history.document import read_argv
from stack.operations.history.figures import leave_out_texts
from stack.operations.history.findings import build_findings
from stack.operations.history.runs import RunDetail
from stack.operations.history.told import tell_run

_VERDICTS = {True: "passed", False: "failed", None: "unfinished"}
_ROLES: dict[str, Role] = {"passed": "pass", "failed": "fail", "unfinished": "warn"}


def render_html(detail: RunDetail, *, now: datetime.datetime) -> str:
    """Give the run's page as HTML."""
    return render_page(build_page(detail, now=now))


def render_xml(detail: RunDetail) -> str:
    """Give the run's checks as JUnit XML; a boot is a case of its own before those of its smoke."""
    entry = detail.entry
    start = entry.boot.start if entry.boot is not None else None
    report = Report(
        findings=build_findings(entry),
        commit=start.commit if start else None,
        commit_level=start.commit_level if start else "unknown",
        model=start.model if start else None,
        revision=start.revision if start else None,
        seconds=_read_seconds(entry),
    )
    return render_junit(report, suite=f"stack {entry.kind}")


def build_page(detail: RunDetail, *, now: datetime.datetime) -> Page:
    """Give what the page of a run shows; no text of a request or an answer, and no secret, is in it."""
    entry, boot = detail.entry, detail.entry.boot
    start = boot.start if boot is not None else None
    report = leave_out_texts(entry.run.report) if entry.run is not None else None
    told = tell_run(detail)
    verdict = _VERDICTS[entry.is_passed]
    return Page(
        project=detail.project,
        name=entry.name,
        verdict=verdict,
        role=_ROLES[verdict],
        summary=told.summary,
        commit=(start.commit or "unknown") if start else None,
        level=start.commit_level if start else "unknown",
        rests_on=start.rests_on if start else None,
        reasons=told.reasons,
        facts=[*_build_facts(detail), *told.facts],
        notes=told.notes,
        sections=told.sections,
        argv=_join_argv(read_argv(entry) or []),
        host=list(start.host.items()) if start else [],
        lock=_cut_lock(detail.lock_text),
        details=json.dumps(report, indent=2, ensure_ascii=False) if report is not None else None,
        written=f"written {now.astimezone(datetime.UTC):%Y-%m-%d %H:%M} UTC by stack {__version__}",
    )


def _build_facts(detail: RunDetail) -> list[tuple[str, str]]:
    entry, boot = detail.entry, detail.entry.boot
    facts = [
        ("project", detail.project),
        ("started", f"{entry.started_at.astimezone(datetime.UTC):%Y-%m-%d %H:%M:%S} UTC"),
    ]
    if boot is None:
        return facts
    start = boot.start
    known = [
        ("boot", f"boot-{boot.id}" if entry.kind != BOOT else None),
        ("vLLM version", start.version),
        ("model", start.model),
        ("revision", start.revision),
        ("device", start.device),
        ("image", start.image_digest or start.image_id),
        ("judged by", ", ".join(detail.related) if entry.kind == BOOT else None),
    ]
    return [*facts, *((name, text) for name, text in known if text)]


def _join_argv(argv: Sequence[str]) -> list[str]:
    """Give an argument with its value a line."""
    lines: list[str] = []
    for part in argv:
        if lines and lines[-1].startswith("-") and " " not in lines[-1] and not part.startswith("-"):
            lines[-1] += f" {shlex.quote(part)}"
        else:
            lines.append(shlex.quote(part))
    return lines


def _read_seconds(entry: Entry) -> float:
    return sum(finding.seconds for finding in build_findings(entry))


def _cut_lock(text: str | None) -> str | None:
    return text.partition("\n[model.files]")[0].rstrip() if text else None
