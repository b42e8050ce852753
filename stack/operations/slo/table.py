"""An SLO report as lines of at most 80 columns. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from stack.operations.paragraphs import wrap_paragraph
from stack.operations.slo.report import SloReport
from stack.operations.slo.words import (
    VERDICTS,
    describe_bad,
    describe_budget,
    describe_count,
    describe_objective,
    describe_rate,
    describe_share,
    describe_span,
    describe_time,
)
from stack.telemetry.slo_judge import Part, Traffic

_WIDTH = 80
OBJECTIVES = ("OBJECTIVE", "TARGET", "REACHED", "NOT GOOD", "BUDGET LEFT", "VERDICT")
THROUGHPUT = ("PER SECOND", "TIME", "REQUESTS", "PROMPT TOKENS", "GENERATED TOKENS")


def render_lines(report: SloReport) -> list[str]:
    """Give the lines: the window, notes, then objectives and throughput, model by model; the last bench."""
    lines = [describe_window(report), *wrap_paragraph(describe_verdict(report), _WIDTH)]
    for note in report.notes:
        lines += wrap_paragraph(note, _WIDTH, "note: ", "      ")
    for part in list_parts(report):
        lines += ["", describe_part(part), ""]
        lines += _align(OBJECTIVES, build_objective_rows(part))
        lines += ["", *_wrap_requests(part.traffic)]
        lines += ["", *_align(THROUGHPUT, build_throughput_rows(report, part))]
    if report.bench is not None:
        lines += ["", *wrap_paragraph(report.bench.said, _WIDTH, "bench     ", " " * 10)]
    return lines


def list_parts(report: SloReport) -> tuple[Part, ...]:
    """Give what is shown: of one model its own part alone, since all together is the same."""
    return report.parts[1:] if len(report.parts) == 2 else report.parts


def describe_window(report: SloReport) -> str:
    """Give the window in words."""
    window = report.window
    return f"{describe_span(window.seconds)}: {describe_time(window.begin)} to {describe_time(window.end)}"


def describe_verdict(report: SloReport) -> str:
    """Give the verdict in words."""
    if report.is_kept is None:
        return "nothing can be said of the objectives"
    if report.is_kept:
        return "the objectives were kept"
    missed: dict[str, list[str]] = {}
    for part in list_parts(report):
        for outcome in part.outcomes:
            if outcome.verdict == "missed":
                missed.setdefault(outcome.name, []).append(describe_part(part))
    return "missed: " + "; ".join(f"{name} ({', '.join(parts)})" for name, parts in missed.items())


def describe_part(part: Part) -> str:
    """Give whose numbers they are."""
    return part.model if part.model is not None else "all models"


def describe_requests(traffic: Traffic) -> str:
    """Give how requests ended, the share that failed, and the tokens."""
    ends = {**traffic.finished, "status 5xx": traffic.refused}
    told = [f"{describe_count(count)} {name}" for name, count in sorted(ends.items(), key=_by_count) if count > 0]
    if not told:
        return "none"
    return (
        f"{describe_count(traffic.requests)} ({', '.join(told)}); error rate {describe_error_rate(traffic)}; tokens "
        f"{describe_count(traffic.prompt_tokens)} read, {describe_count(traffic.generation_tokens)} generated"
    )


def describe_error_rate(traffic: Traffic) -> str:
    """Give the share of answers that failed; rounded up, so that 0 % is none at all."""
    ratio = traffic.error_ratio
    if ratio is None:
        return describe_share(None)
    return "0 %" if ratio == 0 else "<0.01 %" if ratio < 0.0001 else f"{ratio * 100:.3g} %"


def build_objective_rows(part: Part) -> list[tuple[str, ...]]:
    """Give a row for each objective, as `OBJECTIVES` heads them."""
    return [
        (
            describe_objective(outcome),
            describe_share(outcome.target),
            describe_share(outcome.share),
            describe_bad(outcome),
            describe_budget(outcome.budget_left),
            VERDICTS[outcome.verdict],
        )
        for outcome in part.outcomes
    ]


def build_throughput_rows(report: SloReport, part: Part) -> list[tuple[str, ...]]:
    """Give what was served in each second, over the window and over the time with traffic."""
    traffic = part.traffic
    is_whole = report.told_seconds > report.window.seconds - 60
    spans = (
        ("over the window" if is_whole else "since data begins", report.told_seconds),
        ("with traffic", min(traffic.busy_seconds, report.told_seconds)),
    )
    counts = (traffic.requests, traffic.prompt_tokens, traffic.generation_tokens)
    return [(name, describe_span(span), *(describe_rate(count, span) for count in counts)) for name, span in spans]


def _wrap_requests(traffic: Traffic) -> list[str]:
    # A number stays with its sign.
    text = describe_requests(traffic).replace(" %", "\u00a0%")
    return [line.replace("\u00a0", " ") for line in wrap_paragraph(text, _WIDTH, "requests  ", " " * 10)]


def _by_count(item: tuple[str, float]) -> float:
    return -item[1]


def _align(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    ]
