"""What `stack verify` found: as lines, as a page and as JUnit XML, in the form of any other run."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from stack.checks.finding import Finding, Report
from stack.checks.report import render_lines as render_report_lines
from stack.history.query import Entry
from stack.history.records import RunRecord
from stack.operations.history.findings import build_findings
from stack.operations.history.runs import RunDetail, find_run
from stack.operations.session import Session
from stack.operations.verify.run import KIND


def render_lines(document: Mapping[str, Any]) -> list[str]:
    """Give the commit, the model, a line a step, what the steps left in the history, and the verdict."""
    report = Report(
        findings=_read_findings(document),
        commit=document["commit"],
        commit_level=document["commit_level"],
        model=document["model"],
        revision=document["revision"],
        seconds=document["duration_seconds"],
    )
    *lines, verdict = render_report_lines(report, "verify")
    runs = [*document["runs"].values(), *([f"{KIND}-{document['run']}"] if document["run"] else [])]
    kept = [f"kept as {', '.join(runs)}; `stack report` shows each"] if runs else []
    return [*lines, *kept, verdict]


def load_detail(session: Session, document: Mapping[str, Any]) -> RunDetail:
    """Give the run as `stack report` shows it; one that history could not keep, as far as it is known.

    Raises:
        StackError: The history cannot be read.
    """
    if document["run"]:
        return find_run(session, f"{KIND}-{document['run']}")
    started = datetime.datetime.fromisoformat(document["started_at"])
    record = RunRecord(0, KIND, None, started, document["is_passed"], document)
    return RunDetail(session.project, Entry(KIND, 0, started, None, run=record))


def _read_findings(document: Mapping[str, Any]) -> tuple[Finding, ...]:
    started = datetime.datetime.fromisoformat(document["started_at"])
    record = RunRecord(0, KIND, None, started, document["is_passed"], document)
    return tuple(build_findings(Entry(KIND, 0, started, None, run=record))[1:])
