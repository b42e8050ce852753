"""What the page of a verify shows: its steps, and where each is kept. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stack.history.page import Told
from stack.history.words import format_counts

_WORDS = {"pass": "passed", "fail": "failed", "warn": "warned", "skip": "left out"}


def tell_verify(report: Mapping[str, Any]) -> Told:
    """Give how many steps passed, and the runs that they left."""
    statuses = [check["status"] for check in report["checks"]]
    counts = format_counts({word: statuses.count(status) for status, word in _WORDS.items()})
    stayed = "stopped at the end" if report["was_taken_down"] else "left running"
    found = "served before" if report["was_serving"] else "brought up by this run"
    return Told(
        summary=f"{len(statuses)} steps in {report['duration_seconds']:.0f} s: {counts}",
        facts=[
            ("runs", ", ".join(report["runs"].values()) or "none"),
            ("stack", f"{found}, {stayed}"),
        ],
    )
