"""Runs of every kind, found by what they ran on."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from stack.history.file import HistoryFile, render_time
from stack.history.records import BootRecord, RunRecord, SmokeRecord
from stack.history.rows import boot_record, run_record, smoke_record

BOOT, SMOKE, LAST = "boot", "smoke", "last"
_NAME = re.compile(r"(?:([a-z][a-z-]*)-)?([1-9][0-9]{0,17})")


@dataclass(frozen=True)
class Wanted:
    """What is looked for; what is None is of no matter.

    Attributes:
        limit: How many at most.
        since: Only what began then or later.
        commit: The first digits of the vLLM commit.
        model: Part of the model's id, or `id@revision` with the first digits of the revision.
        kind: `boot`, `smoke`, or what a run calls itself; None gives boots with their newest smoke, and other runs.
    """

    limit: int = 20
    since: datetime | None = None
    commit: str | None = None
    model: str | None = None
    kind: str | None = None


@dataclass(frozen=True)
class Entry:
    """One run.

    Attributes:
        kind: `boot`, `smoke`, or what the run calls itself.
        number: Its number among its like; boots, smokes and other runs count separately.
        started_at: When, with its time zone.
        boot: The boot itself, or the one that was judged, where history knows it.
        smoke: The smoke itself, or the newest one of the boot.
        run: Any other run itself.
    """

    kind: str
    number: int
    started_at: datetime
    boot: BootRecord | None
    smoke: SmokeRecord | None = None
    run: RunRecord | None = None

    @property
    def name(self) -> str:
        """Give the name under which it is found again: `boot-12`."""
        return f"{self.kind}-{self.number}"

    @property
    def is_passed(self) -> bool | None:
        """Tell whether it is well; None for a boot that has not ended, or whose process was killed."""
        if self.run is not None:
            return self.run.passed
        if self.kind == SMOKE:
            return self.smoke is not None and self.smoke.passed
        if self.boot is None or self.boot.outcome is None:
            return None
        return self.boot.outcome == "ready" and (self.smoke is None or self.smoke.passed)


def parse_name(text: str) -> tuple[str, int] | None:
    """Turn `boot-12`, `replay-4`, or `12` for boot 12, into a kind and a number; None for what is neither."""
    match = _NAME.fullmatch(text)
    return (match[1] or BOOT, int(match[2])) if match else None


def find_entries(history: HistoryFile, wanted: Wanted) -> list[Entry]:
    """Give runs, the newest first.

    Of smokes, reports are read only where a check failed; `find_entry` reads them all.
    """
    with history.reading() as connection:
        if wanted.kind == BOOT:
            return _find_boots(connection, wanted)
        if wanted.kind == SMOKE:
            return _find_smokes(connection, wanted)
        runs = _find_runs(connection, wanted)
        if wanted.kind is not None:
            return runs
        orphans = _find_smokes(connection, wanted, "smokes.boot_id IS NULL")
        return _merge((_find_boots(connection, wanted), runs, orphans), wanted.limit)


def find_entry(history: HistoryFile, kind: str, number: int) -> Entry | None:
    """Give one run with its whole report, or None."""
    with history.reading() as connection:
        if kind == BOOT:
            entries = _boot_entries(connection, connection.execute("SELECT * FROM boots WHERE id = ?", (number,)))
            smokes = connection.execute("SELECT * FROM smokes WHERE boot_id = ? ORDER BY id DESC LIMIT 1", (number,))
            newest = [smoke_record(row) for row in smokes]
            return replace(entries[0], smoke=newest[0] if newest else None) if entries else None
        if kind == SMOKE:
            rows = connection.execute("SELECT * FROM smokes WHERE id = ?", (number,))
            return next(iter(_smoke_entries(connection, rows)), None)
        rows = connection.execute("SELECT * FROM runs WHERE id = ? AND kind = ?", (number, kind))
        return next(iter(_run_entries(connection, rows)), None)


def find_related(history: HistoryFile, boot_id: int) -> list[str]:
    """Give the names of the smokes and other runs that judged a boot, the newest of each first."""
    with history.reading() as connection:
        smokes = connection.execute("SELECT id FROM smokes WHERE boot_id = ? ORDER BY id DESC", (boot_id,)).fetchall()
        runs = connection.execute("SELECT id, kind FROM runs WHERE boot_id = ? ORDER BY id DESC", (boot_id,)).fetchall()
    return [*(f"{SMOKE}-{row['id']}" for row in smokes), *(f"{row['kind']}-{row['id']}" for row in runs)]


def list_kinds(history: HistoryFile) -> list[str]:
    """Give the kinds of runs that the history has."""
    query = (
        "SELECT 'boot' AS kind WHERE EXISTS (SELECT 1 FROM boots) "
        "UNION ALL SELECT 'smoke' WHERE EXISTS (SELECT 1 FROM smokes) UNION ALL SELECT DISTINCT kind FROM runs"
    )
    with history.reading() as connection:
        return [row["kind"] for row in connection.execute(query)]


def _merge(lists: Iterable[Sequence[Entry]], limit: int) -> list[Entry]:
    """Give the newest of several lists; each keeps its own order, whatever the clock was set to meanwhile."""
    rest = [list(reversed(entries)) for entries in lists if entries]
    merged: list[Entry] = []
    while rest and len(merged) < limit:
        newest = max(rest, key=lambda entries: entries[-1].started_at)
        merged.append(newest.pop())
        rest = [entries for entries in rest if entries]
    return merged


def _find_boots(connection: sqlite3.Connection, wanted: Wanted) -> list[Entry]:
    where, values = _build_where(wanted, "boots")
    rows = connection.execute(f"SELECT boots.* FROM boots {where} ORDER BY boots.id DESC LIMIT :limit", values)
    entries = _boot_entries(connection, rows)
    smokes = {smoke.boot_id: smoke for smoke in _newest_smokes(connection, [entry.number for entry in entries])}
    return [replace(entry, smoke=smokes.get(entry.number)) for entry in entries]


def _find_smokes(connection: sqlite3.Connection, wanted: Wanted, also: str = "1") -> list[Entry]:
    where, values = _build_where(wanted, "smokes", also)
    query = (
        f"SELECT {_SMOKE_COLUMNS} FROM smokes LEFT JOIN boots ON boots.id = smokes.boot_id {where} "
        "ORDER BY smokes.id DESC LIMIT :limit"
    )
    return _smoke_entries(connection, connection.execute(query, values))


def _find_runs(connection: sqlite3.Connection, wanted: Wanted) -> list[Entry]:
    where, values = _build_where(wanted, "runs", "1" if wanted.kind is None else "runs.kind = :kind")
    query = (
        f"SELECT runs.* FROM runs LEFT JOIN boots ON boots.id = runs.boot_id {where} ORDER BY runs.id DESC LIMIT :limit"
    )
    return _run_entries(connection, connection.execute(query, values))


# Reports are the bulk of the file, and a list needs those with failed checks only.
_SMOKE_COLUMNS = (
    "smokes.id, smokes.boot_id, smokes.started_at, smokes.passed, "
    "CASE WHEN smokes.passed THEN '{}' ELSE smokes.report END AS report"
)


def _build_where(wanted: Wanted, table: str, also: str = "1") -> tuple[str, dict[str, Any]]:
    model, _, revision = (wanted.model or "").partition("@")
    conditions = {
        f"{table}.started_at >= :since": wanted.since,
        # Not LIKE, which no index serves.
        'boots."commit" >= :commit AND boots."commit" < :commit || \'g\'': wanted.commit,
        "instr(lower(boots.model), :model)": model,
        "instr(replace(boots.revision, 'sha256:', ''), :revision) = 1": revision,
    }
    values = {
        "limit": wanted.limit,
        "kind": wanted.kind,
        "since": render_time(wanted.since) if wanted.since else None,
        "commit": (wanted.commit or "").lower(),
        "model": model.lower(),
        "revision": revision.lower().removeprefix("sha256:"),
    }
    return "WHERE " + " AND ".join([also, *(text for text, given in conditions.items() if given)]), values


def _boot_entries(connection: sqlite3.Connection, rows: Iterable[sqlite3.Row]) -> list[Entry]:
    found = list(rows)
    phases: dict[int, dict[str, float]] = {row["id"]: {} for row in found}
    query = "SELECT * FROM phases WHERE boot_id IN (SELECT value FROM json_each(?)) ORDER BY rowid"
    for row in connection.execute(query, (json.dumps(list(phases)),)):
        phases[row["boot_id"]][row["phase"]] = row["seconds"]
    boots = [boot_record(row, phases[row["id"]]) for row in found]
    return [Entry(BOOT, boot.id, boot.start.started_at, boot) for boot in boots]


def _newest_smokes(connection: sqlite3.Connection, boot_ids: Sequence[int]) -> list[SmokeRecord]:
    query = (
        f"SELECT {_SMOKE_COLUMNS} FROM smokes WHERE id IN (SELECT max(id) FROM smokes "
        "WHERE boot_id IN (SELECT value FROM json_each(?)) GROUP BY boot_id)"
    )
    return [smoke_record(row) for row in connection.execute(query, (json.dumps(list(boot_ids)),))]


def _smoke_entries(connection: sqlite3.Connection, rows: Iterable[sqlite3.Row]) -> list[Entry]:
    smokes = [smoke_record(row) for row in rows]
    boots = _judged(connection, [smoke.boot_id for smoke in smokes])
    return [Entry(SMOKE, smoke.id, smoke.started_at, boots.get(smoke.boot_id), smoke) for smoke in smokes]


def _run_entries(connection: sqlite3.Connection, rows: Iterable[sqlite3.Row]) -> list[Entry]:
    runs = [run_record(row) for row in rows]
    boots = _judged(connection, [run.boot_id for run in runs])
    return [Entry(run.kind, run.id, run.started_at, boots.get(run.boot_id), run=run) for run in runs]


def _judged(connection: sqlite3.Connection, boot_ids: Sequence[int | None]) -> Mapping[int | None, BootRecord]:
    query = "SELECT * FROM boots WHERE id IN (SELECT value FROM json_each(?))"
    rows = connection.execute(query, (json.dumps([number for number in boot_ids if number is not None]),))
    return {entry.number: entry.boot for entry in _boot_entries(connection, rows) if entry.boot is not None}
