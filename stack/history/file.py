"""One piece of work on the history file: opened, done in one transaction, closed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from stack.errors import StackError
from stack.history.schema import connect, history_error, transaction


def utc_now() -> datetime:
    """Give the time now."""
    return datetime.now(UTC)


def render_time(moment: datetime) -> str:
    """Give a moment as the file keeps it: in UTC, so that times compare as texts."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


class HistoryFile:
    """The prepared file of one project.

    Args:
        path: The file.
        now: The clock.
    """

    def __init__(self, path: Path, *, now: Callable[[], datetime] = utc_now) -> None:
        self.path = path
        self._now = now

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give a connection whose rows are read by name.

        Raises:
            StackError: The file cannot be used.
        """
        try:
            with closing(connect(self.path)) as connection:
                connection.row_factory = sqlite3.Row
                yield connection
        except sqlite3.Error as err:
            raise history_error(self.path, err) from err

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Give a connection that does all or nothing of what the block does.

        Raises:
            StackError: The file cannot be used.
        """
        with self.reading() as connection, transaction(connection):
            yield connection

    def require_boot(self, connection: sqlite3.Connection, boot_id: int) -> None:
        """Make sure that history has a boot.

        Raises:
            StackError: It does not.
        """
        if connection.execute("SELECT 1 FROM boots WHERE id = ?", (boot_id,)).fetchone() is None:
            raise StackError(f"the history at {self.path} has no boot {boot_id}")
