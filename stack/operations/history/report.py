"""`stack report`: a run as JUnit XML, and as what its page shows. Pure."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import Any

from stack import __version__
from stack.checks.finding import Finding, Report
from stack.checks.report import render_junit
from stack.history.chart import Chart, Value, build_chart
from stack.history.page import CheckRow, Page, render_page
from stack.history.query import BOOT, Entry
from stack.history.records import BootRecord
from stack.operations.bench.history import KIND as BENCH
from stack.operations.bench.page import build_bench_charts, build_bench_figures
from stack.operations.history.document import read_argv, read_checks
from stack.operations.history.figures import build_figures, leave_out_texts
from stack.operations.history.runs import RunDetail
from stack.operations.history.table import describe_result

_STATUSES = ("pass", "fail", "warn", "skip")
_VERDICTS = {True: "passed", False: "failed", None: "unfinished"}


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


def build_findings(entry: Entry) -> list[Finding]:
    """Give what was checked: the end of a boot, the checks of a smoke, the verdict of any other run."""
    if entry.run is not None:
        report = entry.run.report
        said = "; ".join(str(item) for item in report.get("against") or []) or _VERDICTS[entry.run.passed]
        verdict = Finding(entry.kind, "pass" if entry.run.passed else "fail", said)
        return [verdict, *(_build_finding(item) for item in read_checks(report))]
    first = [_judge_boot(entry.boot)] if entry.kind == BOOT and entry.boot is not None else []
    return [*first, *(_build_finding(item) for item in read_checks(entry.smoke.report if entry.smoke else {}))]


def build_page(detail: RunDetail, *, now: datetime.datetime) -> Page:
    """Give what the page of a run shows; no text of a request or an answer, and no secret, is in it."""
    entry, boot = detail.entry, detail.entry.boot
    start = boot.start if boot is not None else None
    report = leave_out_texts(entry.run.report) if entry.run is not None else None
    bench = report if entry.kind == BENCH else None
    return Page(
        project=detail.project,
        name=entry.name,
        verdict=_VERDICTS[entry.is_passed],
        summary=", ".join(filter(None, describe_result(entry))),
        commit=(start.commit or "unknown") if start else None,
        level=start.commit_level if start else "unknown",
        rests_on=start.rests_on if start else None,
        facts=_build_facts(detail),
        checks=[_build_row(finding) for finding in build_findings(entry)],
        charts=(build_bench_charts(bench) if bench else [])
        + (_build_charts(boot, detail.earlier) if boot is not None else []),
        argv=read_argv(entry) or [],
        host=list(start.host.items()) if start else [],
        lock=_cut_lock(detail.lock_text),
        figures=build_bench_figures(bench) if bench else build_figures(report) if report is not None else [],
        details=json.dumps(report, indent=2, ensure_ascii=False) if report is not None else None,
        written=f"written {now.astimezone(datetime.UTC):%Y-%m-%d %H:%M} UTC by stack {__version__}",
    )


def _build_facts(detail: RunDetail) -> list[tuple[str, str]]:
    entry, boot = detail.entry, detail.entry.boot
    facts = [("started", f"{entry.started_at.astimezone(datetime.UTC):%Y-%m-%d %H:%M:%S} UTC")]
    if boot is None:
        return facts
    start = boot.start
    total = f"{boot.total_seconds:.1f} s to the first token, caches {boot.cache_state}" if boot.total_seconds else None
    known = [
        ("boot", f"boot-{boot.id}" if entry.kind != BOOT else None),
        ("vLLM version", start.version),
        ("image", start.image_digest or start.image_id),
        ("model", start.model),
        ("revision", start.revision),
        ("device", start.device),
        ("took", total if boot.outcome == "ready" else None),
        ("smoke", f"smoke-{entry.smoke.id}" if entry.smoke is not None and entry.kind == BOOT else None),
    ]
    return [*facts, *((name, text) for name, text in known if text)]


def _build_charts(boot: BootRecord, earlier: tuple[BootRecord, ...]) -> list[tuple[str, Chart]]:
    charts = []
    before = earlier[0].phases if earlier else {}
    names = [*boot.phases, *(name for name in before if boot.phases and name not in boot.phases)]
    if names:
        groups = [
            (
                name,
                [
                    *([Value("now", boot.phases[name])] if name in boot.phases else []),
                    *([Value("before", before[name], f"in boot-{earlier[0].id}")] if name in before else []),
                ],
            )
            for name in names
        ]
        beside = f", beside boot-{earlier[0].id} of the same kind" if earlier else ""
        charts.append((f"Phases of boot-{boot.id}{beside}", build_chart("seconds of each phase", groups)))
    if earlier:
        line = [*reversed(earlier), *([boot] if boot.total_seconds is not None else [])]
        totals = [
            (
                f"boot-{item.id}  {item.start.started_at.astimezone(datetime.UTC):%m-%d %H:%M}",
                [Value("now" if item is boot else "before", item.total_seconds or 0.0, item.cache_state)],
            )
            for item in line
        ]
        charts.append(("Boots of this kind", build_chart("seconds of each boot", totals)))
    return charts


def _judge_boot(boot: BootRecord) -> Finding:
    seconds = boot.total_seconds or 0.0
    if boot.outcome is None:
        return Finding("boot", "skip", "it has not ended, or its process was killed")
    status = "pass" if boot.outcome == "ready" else "fail"
    return Finding("boot", status, f"{boot.outcome} after {seconds:.1f} s", seconds)


def _build_finding(item: Mapping[str, Any]) -> Finding:
    status, hint = item.get("status"), item.get("hint")
    seconds = item.get("seconds")
    return Finding(
        check=str(item.get("check", "")),
        status=status if status in _STATUSES else "skip",
        message=str(item.get("message", "")),
        seconds=float(seconds) if isinstance(seconds, int | float) else 0.0,
        hint=str(hint) if hint else None,
    )


def _build_row(finding: Finding) -> CheckRow:
    hint = finding.hint if finding.status in ("fail", "warn") else None
    return CheckRow(finding.status, finding.check, f"{finding.seconds:.2f}", finding.message, hint)


def _read_seconds(entry: Entry) -> float:
    return sum(finding.seconds for finding in build_findings(entry))


def _cut_lock(text: str | None) -> str | None:
    return text.partition("\n[model.files]")[0].rstrip() if text else None
