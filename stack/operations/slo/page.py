"""An SLO report as one HTML page that needs nothing beside it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from stack import __version__
from stack.history.page import Cell, Table, TablesPage, render_tables_page
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

_ROLES: dict[Verdict, str] = {"kept": "pass", "missed": "fail", "few": "warn", "idle": "skip", "unknown": "warn"}
# `unfinished` has the colour of what is neither good nor bad.
_VERDICTS = {True: "passed", False: "failed", None: "unfinished"}
_BUDGET, _VERDICT = OBJECTIVES.index("BUDGET LEFT"), OBJECTIVES.index("VERDICT")


def render_html(report: SloReport) -> str:
    """Give the page as HTML."""
    return render_tables_page(build_page(report))


def build_page(report: SloReport) -> TablesPage:
    """Give what the page shows."""
    coverage = report.coverage
    seen = f"{describe_span(coverage.seen_seconds)}, to {describe_span(coverage.step_seconds)}"
    facts = [
        ("window", describe_window(report)),
        ("counted by", report.prometheus),
        ("an engine was seen for", seen if coverage.begins is not None else "no time at all"),
    ]
    if report.bench is not None:
        facts.append(("last bench", report.bench.said))
    return TablesPage(
        project=report.project,
        name="objectives",
        verdict=_VERDICTS[report.is_kept],
        summary=describe_verdict(report),
        facts=facts,
        notes=report.notes,
        tables=[table for part in list_parts(report) for table in _build_tables(report, part)],
        written=f"written {describe_time(report.window.end)} by stack {__version__}",
    )


def _build_tables(report: SloReport, part: Part) -> Iterator[Table]:
    rows = []
    for outcome, texts in zip(part.outcomes, build_objective_rows(part), strict=True):
        cells = [Cell(text) for text in texts]
        left = outcome.budget_left
        cells[_BUDGET] = Cell(texts[_BUDGET], "", None if left is None else round(min(max(left, 0.0), 1.0), 4))
        cells[_VERDICT] = Cell(texts[_VERDICT], f"status {_ROLES[outcome.verdict]}")
        rows.append(cells)
    yield Table(f"Objectives: {describe_part(part)}", _capitalize(OBJECTIVES), rows)
    rates = [
        [Cell(text, "number" if place >= 2 else "") for place, text in enumerate(row)]
        for row in build_throughput_rows(report, part)
    ]
    heading, text = f"Throughput: {describe_part(part)}", f"requests: {describe_requests(part.traffic)}"
    yield Table(heading, _capitalize(THROUGHPUT), rates, text)


def _capitalize(header: tuple[str, ...]) -> list[str]:
    return [name.capitalize() for name in header]
