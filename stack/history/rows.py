"""Rows of the history as values."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from datetime import datetime

from stack.history.records import BootRecord, BootStart, PassedLock, RunRecord, SmokeRecord

START_COLUMNS = (
    "kind", "started_at", "commit", "commit_level", "version", "image_digest", "image_id",
    "model", "revision", "device", "args", "log_path", "lock_sha256", "host", "rests_on",
)  # fmt: skip


def boot_record(row: sqlite3.Row, phases: Mapping[str, float]) -> BootRecord:
    """Give a row of `boots` as a value; a file that no newer tool has written to lacks the later columns."""
    known = row.keys()
    values = {name: row[name] for name in START_COLUMNS if name in known}
    values["started_at"] = datetime.fromisoformat(row["started_at"])
    values["args"] = json.loads(row["args"])
    values["host"] = json.loads(row["host"]) if "host" in known else {}
    return BootRecord(
        row["id"], BootStart(**values), row["cache_state"], row["total_seconds"], row["outcome"], dict(phases)
    )


def smoke_record(row: sqlite3.Row) -> SmokeRecord:
    """Give a row of `smokes` as a value."""
    started_at = datetime.fromisoformat(row["started_at"])
    return SmokeRecord(row["id"], row["boot_id"], started_at, bool(row["passed"]), json.loads(row["report"]))


def run_record(row: sqlite3.Row) -> RunRecord:
    """Give a row of `runs` as a value."""
    started_at = datetime.fromisoformat(row["started_at"])
    return RunRecord(row["id"], row["kind"], row["boot_id"], started_at, bool(row["passed"]), json.loads(row["report"]))


def passed_lock(row: sqlite3.Row) -> PassedLock:
    """Give a lock with what the boot that passed with it was."""
    return PassedLock(
        sha256=row["sha256"],
        text=row["text"],
        passed_at=datetime.fromisoformat(row["passed_at"]),
        commit=row["commit"],
        version=row["version"],
        model=row["model"],
        revision=row["revision"],
    )
