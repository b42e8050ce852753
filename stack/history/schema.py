"""The history file: its tables, their versions, and what to do when it is damaged or too new."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

from stack.errors import HostError, StackError

BUSY_TIMEOUT_SECONDS = 10.0

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE boots (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            kind TEXT NOT NULL,
            started_at TEXT NOT NULL,
            "commit" TEXT,
            commit_level TEXT NOT NULL,
            version TEXT,
            image_digest TEXT,
            image_id TEXT NOT NULL,
            model TEXT NOT NULL,
            revision TEXT,
            device TEXT NOT NULL,
            args TEXT NOT NULL,
            cache_state TEXT NOT NULL DEFAULT 'unknown',
            total_seconds REAL,
            outcome TEXT,
            log_path TEXT
        )
        """,
        "CREATE INDEX boots_by_kind ON boots (kind, id)",
        """
        CREATE TABLE phases (
            boot_id INTEGER NOT NULL REFERENCES boots (id) ON DELETE CASCADE,
            phase TEXT NOT NULL,
            seconds REAL NOT NULL,
            UNIQUE (boot_id, phase)
        )
        """,
        """
        CREATE TABLE smokes (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            boot_id INTEGER REFERENCES boots (id) ON DELETE CASCADE,
            started_at TEXT NOT NULL,
            passed INTEGER NOT NULL,
            report TEXT NOT NULL
        )
        """,
        "CREATE INDEX smokes_by_boot ON smokes (boot_id, id)",
        "CREATE TABLE baselines (key TEXT PRIMARY KEY, scores TEXT NOT NULL, created_at TEXT NOT NULL)",
    ),
    (
        # No foreign key: a lock is noted before its boot, and a pruning between the two must not fail the boot.
        "ALTER TABLE boots ADD COLUMN lock_sha256 TEXT",
        "ALTER TABLE boots ADD COLUMN host TEXT NOT NULL DEFAULT '{}'",
        "CREATE INDEX boots_by_lock ON boots (lock_sha256)",
        "CREATE INDEX boots_by_log ON boots (log_path)",
        "CREATE TABLE locks (sha256 TEXT PRIMARY KEY, text TEXT NOT NULL, created_at TEXT NOT NULL)",
        """
        CREATE TABLE runs (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            kind TEXT NOT NULL,
            started_at TEXT NOT NULL,
            boot_id INTEGER REFERENCES boots (id) ON DELETE SET NULL,
            passed INTEGER NOT NULL,
            report TEXT NOT NULL
        )
        """,
        "CREATE INDEX runs_by_kind ON runs (kind, id)",
        "CREATE INDEX runs_by_boot ON runs (boot_id, id)",
    ),
    (
        "ALTER TABLE boots ADD COLUMN rests_on TEXT",
        'CREATE INDEX boots_by_commit ON boots ("commit", id)',
    ),
    ("CREATE INDEX smokes_by_verdict ON smokes (boot_id, passed, id)",),
)
"""The statements of each version; the file's `user_version` counts those it has had. Append, never edit."""

_CREATE = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
_REFUSED = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class DamagedHistoryError(StackError):
    """The history was damaged and has been moved aside: preparing it again starts a new one."""


def prepare_history(path: Path, now: datetime) -> None:
    """Make the file exist, whole and of this version.

    Args:
        path: The file; its directory is made too.
        now: What a damaged file's new name tells.

    Raises:
        DamagedHistoryError: It is damaged.
        StackError: It was written by a newer version, or cannot be written.
    """
    with _exclusive(path):
        try:
            with closing(connect(path)) as connection:
                _check_whole(connection)
                _migrate(connection, path)
        except sqlite3.DatabaseError as err:
            if not is_damaged(err):
                raise history_error(path, err) from err
            aside = _move_aside(path, now)
            raise DamagedHistoryError(
                f"the history at {path} is damaged; it was moved to {aside}",
                hint="run the command again: it starts a new history, and nothing else is lost",
            ) from err


def connect(path: Path) -> sqlite3.Connection:
    """Open the prepared file for one piece of work; the caller closes the connection."""
    address = f"{path.absolute().as_uri()}?mode=rw"
    connection = sqlite3.connect(address, uri=True, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = NORMAL")
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Do all or nothing of what the block does; other writers wait."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def is_damaged(err: sqlite3.Error) -> bool:
    """Tell a damaged file from one that is only locked, full or out of reach."""
    code = getattr(err, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _DAMAGED


def history_error(path: Path, err: sqlite3.Error) -> StackError:
    """Say what SQLite could not do."""
    if is_damaged(err):
        return StackError(
            f"the history at {path} is damaged: {err}",
            hint="run the command again: it moves the file aside and starts a new history",
        )
    is_refused = getattr(err, "sqlite_errorcode", 0) & 0xFF in _REFUSED
    return (HostError if is_refused else StackError)(
        f"the history at {path} cannot be used: {err}",
        hint=f"look whether the disk is full (`df -h {path.parent}`) and the file is yours (`ls -l {path}`)",
    )


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """Let one process at a time prepare the file, or two could move aside each other's new one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path.with_name(f"{path.name}.lock"), _CREATE, 0o600)
    except OSError as err:
        raise StackError(
            f"the history at {path} cannot be written: {err.strerror}",
            hint=f"make {path.parent} a directory that you can write to",
        ) from err
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # SQLite gives its side files the mode of the file itself.
        os.close(os.open(path, _CREATE, 0o600))
        yield
    except OSError as err:
        raise StackError(
            f"the history at {path} cannot be written: {err.strerror}",
            hint=f"look whose file it is (`ls -l {path}`)",
        ) from err
    finally:
        os.close(descriptor)


def _check_whole(connection: sqlite3.Connection) -> None:
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        err = sqlite3.DatabaseError(found)
        err.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise err


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise StackError(
            f"the history at {path} was written by a newer version of this tool "
            f"(format {version}; this one knows {len(MIGRATIONS)})",
            hint=f"upgrade this tool, or set the history aside: mv {path} {path}.newer",
        )
    for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
        with transaction(connection):
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")


def _move_aside(path: Path, now: datetime) -> Path:
    """Rename the file and what SQLite keeps beside it, never over an older one."""
    stem = f"{path.name}.damaged-{now:%Y%m%dT%H%M%S}"
    names = (stem, *(f"{stem}-{number}" for number in range(2, 1000)))
    aside = next(path.with_name(name) for name in names if not path.with_name(name).exists())
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside
