"""A history that is damaged or newer than this tool."""

from __future__ import annotations

import sqlite3

import pytest

from stack.errors import StackError
from stack.operations.history.open import open_project_history


def test_a_damaged_history_is_set_aside_and_said_and_a_new_one_begins(make_session, said):
    session = make_session()
    session.paths.state.mkdir(parents=True)
    session.paths.history.write_bytes(b"no database " * 400)
    assert open_project_history(session).recent_boots(1) == []
    (aside,) = session.paths.state.glob("history.sqlite.damaged-*")
    assert said == [
        f"the history at {session.paths.history} is damaged; it was moved to {aside}; "
        "a new one begins, and nothing else is lost"
    ]


def test_a_history_of_a_newer_version_is_not_replaced(make_session, said):
    session = make_session()
    open_project_history(session)
    connection = sqlite3.connect(session.paths.history)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StackError, match="newer"):
        open_project_history(session)
    assert said == []
