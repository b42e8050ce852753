"""What `doctor` found, as lines and as JSON. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from stack.checks.finding import Finding
from stack.operations.doctor.run import DoctorReport
from stack.operations.paragraphs import wrap_paragraph

SCHEMA_VERSION = 1
_LEAST_TEXT_CHARS = 40


def render_lines(doctor: DoctorReport, *, width: int = 100, is_long: bool = False) -> list[str]:
    """Render the verdict, then what is wrong with why it matters and what mends it, then what is well.

    Args:
        doctor: What was found.
        width: Characters that a line may have.
        is_long: Whether what is well, or was not looked at, is told in full instead of in a line.
    """
    findings = doctor.report.findings
    name_width = max((len(finding.check) for finding in findings if finding.status != "skip"), default=0)
    width = max(width, name_width + _LEAST_TEXT_CHARS)
    lines = wrap_paragraph(doctor.headline, width)
    for status in ("fail", "warn", "pass"):
        of_status = [finding for finding in findings if finding.status == status]
        is_short = status == "pass" and not is_long
        blocks = [_render_finding(finding, name_width, width, is_short=is_short) for finding in of_status]
        lines += ["", *itertools.chain.from_iterable(blocks)] if blocks else []
    skipped = [finding for finding in findings if finding.status == "skip"]
    lines += ["", *wrap_paragraph("; ".join(_group_skips(skipped)), width, "skip  ", _indent(6))] if skipped else []
    is_cut = any(line.endswith("…") for line in lines)
    in_full = "; `stack -v doctor` shows the lines in full" if is_cut else ""
    return [*lines, "", *wrap_paragraph(render_counts(doctor) + in_full, width)]


def _render_finding(finding: Finding, name_width: int, width: int, *, is_short: bool) -> list[str]:
    start, indent = f"{finding.status:4}  {finding.check:{name_width}}  ", _indent(name_width + 8)
    if is_short:
        return [_shorten(start + finding.message, width)]
    lines = wrap_paragraph(finding.message, width, start, indent)
    said = [("why", finding.why), ("hint", finding.hint)] if finding.status in ("fail", "warn") else []
    for name, text in said:
        lines += wrap_paragraph(text, width, f"{indent}{name + ':':6}", indent + _indent(6)) if text else []
    return lines


def _group_skips(findings: Iterable[Finding]) -> list[str]:
    names: dict[str, list[str]] = {}
    for finding in findings:
        names.setdefault(finding.message, []).append(finding.check)
    return [f"{', '.join(checks)}: {reason}" for reason, checks in names.items()]


def _indent(count: int) -> str:
    return " " * count


def _shorten(text: str, width: int) -> str:
    line = text.replace("\n", " ")
    return line if len(line) <= width else line[: width - 1].rstrip(" ,;:(") + "…"


def render_counts(doctor: DoctorReport) -> str:
    """Say how many checks ended how, and how long all of them took."""
    report = doctor.report
    words = (("fail", "failed"), ("warn", "warned"), ("pass", "passed"), ("skip", "skipped"))
    counts = ", ".join(f"{report.count(status)} {word}" for status, word in words if report.count(status))
    return f"{len(report.findings)} checks in {report.seconds:.1f} s: {counts}"


def build_document(doctor: DoctorReport) -> dict[str, Any]:
    """Build the JSON document."""
    return {
        "schema_version": SCHEMA_VERSION,
        "would_work": doctor.would_work,
        "headline": doctor.headline,
        "seconds": round(doctor.report.seconds, 3),
        "choices": [
            {"key": c.key, "value": c.value, "reason": c.reason, "is_automatic": c.is_automatic} for c in doctor.choices
        ],
        "findings": [
            {
                "check": finding.check,
                "status": finding.status,
                "message": finding.message,
                "why": finding.why,
                "hint": finding.hint,
                "seconds": round(finding.seconds, 3),
                "data": dict(finding.data),
            }
            for finding in doctor.report.findings
        ],
    }
