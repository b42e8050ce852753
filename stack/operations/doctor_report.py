"""What `doctor` found, as lines and as JSON. Pure."""

from __future__ import annotations

from typing import Any

from stack.checks.finding import Finding
from stack.operations.doctor import DoctorReport

SCHEMA_VERSION = 1


def render_lines(doctor: DoctorReport) -> list[str]:
    """Render the verdict, then one line a check, with why it matters and what mends it where something is wrong."""
    findings = doctor.report.findings
    width = max((len(finding.check) for finding in findings), default=0)
    lines = [doctor.headline]
    for finding in findings:
        lines.append(f"{finding.status:4}  {finding.check:{width}}  {finding.message}")
        if finding.status in ("fail", "warn"):
            lines += [f"{'':{width + 6}}  {name}: {text}" for name, text in _explain(finding) if text]
    return [*lines, render_counts(doctor)]


def _explain(finding: Finding) -> list[tuple[str, str | None]]:
    return [("why", finding.why), ("hint", finding.hint)]


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
