"""The part of the history that holds locks, and runs other than boots and smokes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from stack.history.file import HistoryFile, render_time
from stack.history.records import PassedLock, RunRecord
from stack.history.rows import passed_lock, run_record

KEPT_RUNS = 1000
KEPT_LOCKS = 100
# A lock that no boot names any more is of use to nobody; one that was noted a moment ago has no boot yet.
_OLD_LOCKS = """
    rowid NOT IN (SELECT rowid FROM locks ORDER BY rowid DESC LIMIT ?)
    AND NOT EXISTS (SELECT 1 FROM boots WHERE boots.lock_sha256 = locks.sha256)
"""


class RunsAndLocks(HistoryFile):
    """Locks by their hash, and runs by their kind."""

    def note_lock(self, text: str, now: datetime) -> str:
        """Keep the text of a stack.lock; give the name under which boots refer to it, the SHA-256 of the text.

        A lock that is kept already stays as it is. Of those that no boot names, the newest `KEPT_LOCKS` stay.
        """
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        with self.writing() as connection:
            connection.execute(
                "INSERT INTO locks (sha256, text, created_at) VALUES (?, ?, ?) ON CONFLICT (sha256) DO NOTHING",
                (sha256, text, render_time(now)),
            )
            connection.execute(f"DELETE FROM locks WHERE {_OLD_LOCKS}", (KEPT_LOCKS,))
        return sha256

    def name_lock(self, boot_id: int, sha256: str) -> None:
        """Note with which kept lock a boot ran, where that became its lock later."""
        with self.writing() as connection:
            self.require_boot(connection, boot_id)
            connection.execute("UPDATE boots SET lock_sha256 = ? WHERE id = ?", (sha256, boot_id))

    def load_lock(self, sha256: str) -> str | None:
        """Give the text of a lock by its hash, where it is kept."""
        with self.reading() as connection:
            row = connection.execute("SELECT text FROM locks WHERE sha256 = ?", (sha256,)).fetchone()
        return None if row is None else str(row["text"])

    def find_passed_locks(self, limit: int) -> list[PassedLock]:
        """Give the locks with which a boot passed smoke, each once, the one that passed last first."""
        # What is grouped is in indexes alone: reports are not read to find the few that count.
        query = """
            SELECT smokes.started_at AS passed_at, locks.sha256, locks.text,
                   boots."commit", boots.version, boots.model, boots.revision
            FROM (
                SELECT max(smokes.id) AS newest
                FROM boots JOIN smokes ON smokes.boot_id = boots.id AND smokes.passed = 1
                WHERE boots.lock_sha256 IS NOT NULL
                GROUP BY boots.lock_sha256
            )
            JOIN smokes ON smokes.id = newest
            JOIN boots ON boots.id = smokes.boot_id
            JOIN locks ON locks.sha256 = boots.lock_sha256
            ORDER BY newest DESC
            LIMIT ?
        """
        with self.reading() as connection:
            return [passed_lock(row) for row in connection.execute(query, (limit,))]

    def note_run(
        self, kind: str, started_at: datetime, boot_id: int | None, passed: bool, report: Mapping[str, Any]
    ) -> int:
        """Note a run that is neither a boot nor a smoke; give its number. Beyond `KEPT_RUNS` the oldest are forgotten.

        Args:
            kind: What it was, in one word: `replay`, `upgrade`.
            started_at: When, with its time zone.
            boot_id: The boot it judged, where there is one.
            passed: What it was judged to be.
            report: The JSON report; no prompt text and no secret.

        Raises:
            StackError: History does not know that boot, or cannot be written.
        """
        values = (kind, render_time(started_at), boot_id, passed, json.dumps(dict(report)))
        with self.writing() as connection:
            if boot_id is not None:
                self.require_boot(connection, boot_id)
            cursor = connection.execute(
                "INSERT INTO runs (kind, started_at, boot_id, passed, report) VALUES (?, ?, ?, ?, ?)", values
            )
            connection.execute(
                "DELETE FROM runs WHERE id <= (SELECT id FROM runs ORDER BY id DESC LIMIT 1 OFFSET ?)", (KEPT_RUNS,)
            )
            return int(cursor.lastrowid or 0)

    def revise_run(self, run_id: int, passed: bool, report: Mapping[str, Any]) -> None:
        """Write the judgement and report of a noted run anew, where more of it became known; not a forgotten one.

        Args:
            run_id: The run's number.
            passed: What it is judged to be now.
            report: The JSON report; no prompt text and no secret.

        Raises:
            StackError: History cannot be written.
        """
        with self.writing() as connection:
            values = (passed, json.dumps(dict(report)), run_id)
            connection.execute("UPDATE runs SET passed = ?, report = ? WHERE id = ?", values)

    def list_runs(self, kind: str | None = None, limit: int = 20) -> list[RunRecord]:
        """Give the newest runs other than boots and smokes, of one kind where given, the newest first."""
        where = "" if kind is None else "WHERE kind = :kind"
        query = f"SELECT * FROM runs {where} ORDER BY id DESC LIMIT :limit"
        with self.reading() as connection:
            return [run_record(row) for row in connection.execute(query, {"kind": kind, "limit": limit})]

    def load_run(self, run_id: int) -> RunRecord | None:
        """Give a run other than a boot or smoke by its number."""
        with self.reading() as connection:
            row = connection.execute("SELECT * FROM runs WHERE id = ?", (run_id,)).fetchone()
        return None if row is None else run_record(row)
