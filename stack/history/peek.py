"""How the last boot ended, read without touching the file: no lock, no migration, no repair."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


def peek_last_outcome(path: Path) -> str | None:
    """Give how the newest boot ended, `unfinished` where that was never noted, None where nothing can be read.

    Source: https://www.sqlite.org/wal.html: a reader makes the side files of a WAL database where they are missing,
    unless the file is opened as immutable.
    """
    if not path.is_file():
        return None
    has_log = path.with_name(f"{path.name}-wal").exists()
    address = f"{path.absolute().as_uri()}?mode=ro{'' if has_log else '&immutable=1'}"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=0.1)) as connection:
            row = connection.execute("SELECT outcome FROM boots ORDER BY id DESC LIMIT 1").fetchone()
    except sqlite3.Error:
        return None
    return None if row is None else str(row[0] or "unfinished")
