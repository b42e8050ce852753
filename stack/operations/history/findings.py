"""What was checked in a run, as findings: the end of a boot, a smoke's checks, any other run's verdict. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stack.checks.finding import Finding
from stack.history.query import BOOT, Entry
from stack.history.records import BootRecord
from stack.operations.history.document import read_checks

_STATUSES = ("pass", "fail", "warn", "skip")


def build_findings(entry: Entry) -> list[Finding]:
    """Give what was checked: the end of a boot, the checks of a smoke, the verdict of any other run."""
    if entry.run is not None:
        report = entry.run.report
        said = "; ".join(str(item) for item in report.get("against") or []) or (
            "passed" if entry.run.passed else "failed"
        )
        verdict = Finding(entry.kind, "pass" if entry.run.passed else "fail", said)
        return [verdict, *(_build_finding(item) for item in read_checks(report))]
    first = [_judge_boot(entry.boot)] if entry.kind == BOOT and entry.boot is not None else []
    return [*first, *(_build_finding(item) for item in read_checks(entry.smoke.report if entry.smoke else {}))]


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
