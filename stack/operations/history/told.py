"""What each kind of run tells on its page. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stack.checks.finding import Finding
from stack.history.chart import Chart, Value, build_chart, format_seconds
from stack.history.page import Cell, Reason, Section, Table, Told, build_pairs
from stack.history.query import BOOT, Entry
from stack.history.records import BootRecord
from stack.operations.bench.page import tell_bench
from stack.operations.demo.page import tell_demo
from stack.operations.history.figures import build_figures, leave_out_texts
from stack.operations.history.findings import build_findings
from stack.operations.history.runs import RunDetail
from stack.operations.replay.page import tell_replay
from stack.operations.upgrade.page import tell_rollback, tell_upgrade
from stack.operations.verify.page import tell_verify

_KINDS: Mapping[str, Callable[[Mapping[str, Any]], Told]] = {
    "bench": tell_bench,
    "demo": tell_demo,
    "replay": tell_replay,
    "rollback": tell_rollback,
    "upgrade": tell_upgrade,
    "verify": tell_verify,
}
_CACHES = {
    "warm": ", with warm compile caches",
    "cold": ", with cold compile caches",
    "none": ", without compile caches",
}


def tell_run(detail: RunDetail) -> Told:
    """Give what a run's page tells beside its identity; no text of a request or an answer, and no secret."""
    entry = detail.entry
    if entry.run is None:
        return _tell_boot(detail) if entry.kind == BOOT else _tell_smoke(entry)
    try:
        return _add_checks(entry, _KINDS[entry.kind](entry.run.report))
    except (AttributeError, KeyError, TypeError, ValueError):
        # A kind without a page of its own, or the report of another version.
        return _tell_other(entry, entry.run.report)


def _tell_boot(detail: RunDetail) -> Told:
    entry, boot = detail.entry, detail.entry.boot
    if boot is None:
        return Told("")
    findings = build_findings(entry)
    seconds = format_seconds(boot.total_seconds) if boot.total_seconds is not None else ""
    said = {
        "ready": f"first token after {seconds}{_CACHES.get(boot.cache_state, '')}",
        "failed": f"it failed after {seconds}",
        "interrupted": f"it was interrupted after {seconds}",
    }.get(boot.outcome or "", findings[0].message)
    smoke = f"; {_count(findings[1:], f'smoke-{entry.smoke.id}')}" if entry.smoke is not None else ""
    reasons = [Reason(detail.failure.cause, detail.failure.next)] if detail.failure is not None else []
    log = [("log", detail.log_path.name)] if detail.log_path is not None and boot.outcome != "ready" else []
    return Told(
        said + smoke,
        reasons=[*reasons, *_list_failed(findings[1:])],
        facts=log,
        sections=[*_build_checks(findings[1:]), *_build_charts(boot, detail.earlier)],
    )


def _tell_smoke(entry: Entry) -> Told:
    findings = build_findings(entry)
    return Told(_count(findings, "smoke"), reasons=_list_failed(findings), sections=_build_checks(findings))


def _add_checks(entry: Entry, told: Told) -> Told:
    """Add checks to what has no table of its own for them."""
    if told.sections:
        return told
    findings = build_findings(entry)[1:]
    return Told(told.summary, [*told.reasons, *_list_failed(findings)], told.facts, told.notes, _build_checks(findings))


def _tell_other(entry: Entry, report: Mapping[str, Any]) -> Told:
    figures = build_figures(leave_out_texts(report))
    findings = build_findings(entry)
    sections: list[Section] = [build_pairs("Key figures", figures)] if figures else []
    said = report.get("said")
    return Told(
        said if isinstance(said, str) else "",
        reasons=[Reason(str(text)) for text in report.get("against") or []] + _list_failed(findings[1:]),
        sections=[*_build_checks(findings[1:]), *sections],
    )


def _build_checks(findings: Sequence[Finding]) -> list[Section]:
    rows = [
        (
            Cell(finding.status, f"status {finding.status}"),
            Cell(finding.check, "name"),
            Cell(f"{finding.seconds:.2f} s", "number"),
            Cell(finding.message, note=_find_hint(finding)),
        )
        for finding in findings
    ]
    return [Table("Checks", ("Status", "Check", "Time", "What was seen"), rows)] if rows else []


def _find_hint(finding: Finding) -> str | None:
    return f"next: {finding.hint}" if finding.hint and finding.status in ("fail", "warn") else None


def _list_failed(findings: Sequence[Finding]) -> list[Reason]:
    return [Reason(f"{one.check}: {one.message}", one.hint) for one in findings if one.status == "fail"]


def _count(findings: Sequence[Finding], name: str) -> str:
    statuses = [finding.status for finding in findings]
    words = (("pass", "passed"), ("fail", "failed"), ("warn", "warned"), ("skip", "skipped"))
    counts = ", ".join(f"{statuses.count(status)} {word}" for status, word in words if status in statuses)
    return f"{name}: {counts or 'no check ran'}"


def _build_charts(boot: BootRecord, earlier: Sequence[BootRecord]) -> list[Chart]:
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
        text = f"filled: this boot; outlined: boot-{earlier[0].id}, the last of the same kind" if earlier else ""
        charts.append(build_chart(f"Phases of boot-{boot.id}", groups, text=text))
    if earlier:
        line = [*reversed(earlier), *([boot] if boot.total_seconds is not None else [])]
        totals = [
            (
                f"boot-{item.id}, {item.start.started_at:%m-%d %H:%M}",
                [Value("now" if item is boot else "before", item.total_seconds or 0.0, _describe(item))],
            )
            for item in line
        ]
        text = "from start to the first token; times are UTC"
        charts.append(build_chart("Boots of this kind", totals, text=text))
    return charts


def _describe(boot: BootRecord) -> str:
    caches = boot.cache_state if boot.cache_state in ("warm", "cold") else ""
    return " ".join(filter(None, (caches, "failed" if boot.outcome != "ready" else "")))
