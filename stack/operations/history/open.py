"""The project's history, opened for writing."""

from __future__ import annotations

from stack.history.schema import DamagedHistoryError
from stack.history.store import History, open_history
from stack.operations.session import Session


def open_project_history(session: Session) -> History:
    """Give the project's history; a damaged one is set aside and said, and a new one begins.

    Raises:
        StackError: It was written by a newer version, or cannot be written.
    """
    try:
        return open_history(session.paths.history)
    except DamagedHistoryError as err:
        session.say(f"{err.message}; a new one begins, and nothing else is lost")
        return open_history(session.paths.history)
