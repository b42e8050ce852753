"""An SLO report as one HTML page that needs nothing beside it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from stack import __version__
from stack.history.page import Cell, Page, Role, Table, render_page
from stack.operations.slo.report import SloReport
from stack.operations.slo.table import (
    OBJECTIVES,
    THROUGHPUT,
    build_objective_rows,
    build_throughput_rows,
    describe_part,
    describe_requests,
    describe_verdict,
    describe_window,
    list_parts,
)
from stack.operations.slo.words import describe_span, describe_time
from stack.telemetry.slo_judge import Part, Verdict

_ROLES: dict[Verdict, Role] = {"kept": "pass", "missed": "fail", "few": "warn", "idle": "skip", "unknown": "warn"}
_VERDICTS: dict[bool | None, tuple[str, Role]] = {
    True: ("kept", "pass"),
    False: ("missed", "fail"),
    None: ("unknown", "warn"),
}
_NUMBERS = (OBJECTIVES.index("TARGET"), OBJECTIVES.index("REACHED"), OBJECTIVES.index("NOT GOOD"))
_BUDGET, _VERDICT = OBJECTIVES.index("BUDGET LEFT"), OBJECTIVES.index("VERDICT")


def render_html(report: SloReport) -> str:
    """Give the page as HTML."""
    return render_page(build_page(report))


def build_page(report: SloReport) -> Page:
    """Give what the page shows."""
    coverage = report.coverage
    seen = f"{describe_span(coverage.seen_seconds)}, to {describe_span(coverage.step_seconds)}"
    verdict, role = _VERDICTS[report.is_kept]
    facts = [
        ("project", report.project),
        ("window", describe_window(report)),
        ("counted by", report.prometheus),
        ("an engine was seen for", seen if coverage.begins is not None else "no time at all"),
    ]
    if report.bench is not None:
        facts.append(("last bench", report.bench.said))
    return Page(
        project=report.project,
        name="objectives",
        verdict=verdict,
        role=role,
        summary=describe_verdict(report).removeprefix("missed: "),
        commit=report.bench.commit if report.bench is not None else None,
        level="of the last boot; the window may hold others",
        facts=facts,
        notes=report.notes,
        sections=[table for part in list_parts(report) for table in _build_tables(report, part)],
        written=f"written {describe_time(report.window.end)} by stack {__version__}",
    )


def _build_tables(report: SloReport, part: Part) -> Iterator[Table]:
    rows = []
    for outcome, texts in zip(part.outcomes, build_objective_rows(part), strict=True):
        cells = [Cell(text, "number" if place in _NUMBERS else "") for place, text in enumerate(texts)]
        cells[0] = Cell(texts[0].replace("<=", "≤"), "name")
        left = outcome.budget_left
        share = None if left is None else round(min(left, 1.0), 4)
        cells[_BUDGET] = Cell(texts[_BUDGET], share=share)
        cells[_VERDICT] = Cell(texts[_VERDICT], f"status {_ROLES[outcome.verdict]}")
        rows.append(cells)
    yield Table(f"Objectives: {describe_part(part)}", _capitalize(OBJECTIVES), rows)
    rates = [
        [Cell(text, "number" if place >= 2 else "" if place else "name") for place, text in enumerate(row)]
        for row in build_throughput_rows(report, part)
    ]
    heading, text = f"Throughput: {describe_part(part)}", f"requests: {describe_requests(part.traffic)}"
    yield Table(heading, _capitalize(THROUGHPUT), rates, text)


def _capitalize(header: tuple[str, ...]) -> list[str]:
    return [name.capitalize() for name in header]
