"""What was run on which commit with which result, in one SQLite file of the project's state."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from stack.history.file import render_time, utc_now
from stack.history.records import Baseline, BootRecord, BootStart, CacheState, Outcome, SmokeRecord
from stack.history.rows import START_COLUMNS, boot_record, smoke_record
from stack.history.runs import RunsAndLocks
from stack.history.schema import prepare_history

KEPT_BOOTS = 10_000
KEPT_SMOKES = 10_000
"""Years of daily work, in about 50 MB; a smoke's report is the largest part of it (5 kB)."""
KEPT_LOGS = 50
"""Boot logs are larger, and are read when a boot failed a moment ago."""
KEPT_BASELINES = 500

_OLD = "id <= (SELECT id FROM {table} ORDER BY id DESC LIMIT 1 OFFSET ?)"


def open_history(path: Path, *, now: Callable[[], datetime] = utc_now) -> History:
    """Open the history, made when it is not there.

    Raises:
        DamagedHistoryError: It is damaged; it has been moved aside, and opening it again gives a new one.
        StackError: It was written by a newer version, or cannot be written.
    """
    prepare_history(path, now())
    return History(path, now=now)


class History(RunsAndLocks):
    """The boots, smokes, other runs, locks and baselines of one project.

    Every call opens the file, does its work in one transaction and closes it, so that threads, processes
    and a killed tool cannot disturb one another. Every call raises StackError when the file cannot be used.
    """

    def record_boot(self, start: BootStart) -> int:
        """Note that a boot has started; give its number. Beyond `KEPT_BOOTS` the oldest are forgotten."""
        values = {name: getattr(start, name) for name in START_COLUMNS}
        values["started_at"] = render_time(start.started_at)
        values["args"] = json.dumps(dict(start.args))
        values["host"] = json.dumps(dict(start.host))
        columns = ", ".join(f'"{name}"' for name in START_COLUMNS)
        marks = ", ".join(f":{name}" for name in START_COLUMNS)
        with self.writing() as connection:
            cursor = connection.execute(f"INSERT INTO boots ({columns}) VALUES ({marks})", values)
            connection.execute(f"DELETE FROM boots WHERE {_OLD.format(table='boots')}", (KEPT_BOOTS,))
            return int(cursor.lastrowid or 0)

    def record_phase(self, boot_id: int, phase: str, seconds: float) -> None:
        """Note how long a phase took; a phase told twice keeps the later value."""
        with self.writing() as connection:
            self.require_boot(connection, boot_id)
            connection.execute(
                "INSERT INTO phases (boot_id, phase, seconds) VALUES (?, ?, ?) "
                "ON CONFLICT (boot_id, phase) DO UPDATE SET seconds = excluded.seconds",
                (boot_id, phase, seconds),
            )

    def finish_boot(
        self,
        boot_id: int,
        outcome: Outcome,
        *,
        total_seconds: float,
        cache_state: CacheState = "unknown",
        log_path: str | None = None,
    ) -> None:
        """Note how a boot ended; `log_path` replaces the one told at its start, where given."""
        with self.writing() as connection:
            self.require_boot(connection, boot_id)
            connection.execute(
                "UPDATE boots SET outcome = ?, total_seconds = ?, cache_state = ?, "
                "log_path = coalesce(?, log_path) WHERE id = ?",
                (outcome, total_seconds, cache_state, log_path, boot_id),
            )

    def boots_of_kind(self, kind: str, count: int, *, before: int | None = None) -> list[BootRecord]:
        """Give boots of a kind that became ready, the newest first.

        Args:
            kind: The key of `boot_kind`.
            count: How many at most.
            before: Only boots older than this one, so that a boot is not compared with itself.
        """
        return self._boots(
            "WHERE kind = ? AND outcome = 'ready' AND id < coalesce(?, id + 1) ORDER BY id DESC LIMIT ?",
            (kind, before, count),
        )

    def load_boot(self, boot_id: int) -> BootRecord | None:
        """Give a boot by its number."""
        boots = self._boots("WHERE id = ?", (boot_id,))
        return boots[0] if boots else None

    def recent_boots(self, count: int) -> list[BootRecord]:
        """Give the newest boots, the newest first."""
        return self._boots("ORDER BY id DESC LIMIT ?", (count,))

    def prune_logs(self, keep: int = KEPT_LOGS) -> list[Path]:
        """Forget where the logs of all but the newest boots are.

        Returns:
            The logs that no boot names any more, for the caller to delete.
        """
        old = f"log_path IS NOT NULL AND {_OLD.format(table='boots')}"
        with self.writing() as connection:
            rows = connection.execute(f"SELECT DISTINCT log_path FROM boots WHERE {old}", (keep,)).fetchall()
            connection.execute(f"UPDATE boots SET log_path = NULL WHERE {old}", (keep,))
            named = {row[0] for row in connection.execute("SELECT log_path FROM boots WHERE log_path IS NOT NULL")}
        return [Path(row[0]) for row in rows if row[0] not in named]

    def record_smoke(
        self, boot_id: int | None, *, started_at: datetime, passed: bool, report: Mapping[str, Any]
    ) -> int:
        """Note a smoke run; give its number. The oldest beyond `KEPT_SMOKES` are forgotten."""
        values = (boot_id, render_time(started_at), passed, json.dumps(dict(report)))
        with self.writing() as connection:
            if boot_id is not None:
                self.require_boot(connection, boot_id)
            cursor = connection.execute(
                "INSERT INTO smokes (boot_id, started_at, passed, report) VALUES (?, ?, ?, ?)", values
            )
            connection.execute(f"DELETE FROM smokes WHERE {_OLD.format(table='smokes')}", (KEPT_SMOKES,))
            return int(cursor.lastrowid or 0)

    def last_smoke(self, boot_id: int | None = None) -> SmokeRecord | None:
        """Give the newest smoke run, of one boot where its number is given."""
        where = "" if boot_id is None else "WHERE boot_id = :boot_id"
        query = f"SELECT * FROM smokes {where} ORDER BY id DESC LIMIT 1"
        with self.reading() as connection:
            row = connection.execute(query, {"boot_id": boot_id}).fetchone()
        return None if row is None else smoke_record(row)

    def save_baseline(self, key: str, scores: Mapping[str, Any]) -> None:
        """Keep a model revision's scores, in place of earlier ones."""
        with self.writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO baselines (key, scores, created_at) VALUES (?, ?, ?)",
                (key, json.dumps(dict(scores)), render_time(self._now())),
            )
            connection.execute(
                # By their order and not by their times: the clock may have been set back.
                "DELETE FROM baselines WHERE key NOT IN (SELECT key FROM baselines ORDER BY rowid DESC LIMIT ?)",
                (KEPT_BASELINES,),
            )

    def load_baseline(self, key: str) -> Baseline | None:
        """Give a model revision's scores, where there are any."""
        with self.reading() as connection:
            row = connection.execute("SELECT * FROM baselines WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        return Baseline(row["key"], json.loads(row["scores"]), datetime.fromisoformat(row["created_at"]))

    def _boots(self, clause: str, values: tuple[Any, ...]) -> list[BootRecord]:
        with self.reading() as connection:
            rows = connection.execute(f"SELECT * FROM boots {clause}", values).fetchall()
            return [boot_record(row, self._phases(connection, row["id"])) for row in rows]

    def _phases(self, connection: sqlite3.Connection, boot_id: int) -> dict[str, float]:
        rows = connection.execute("SELECT phase, seconds FROM phases WHERE boot_id = ? ORDER BY rowid", (boot_id,))
        return {row["phase"]: row["seconds"] for row in rows}
