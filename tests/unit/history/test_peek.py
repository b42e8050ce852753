"""The last boot's end, read without touching anything."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from stack.history.peek import peek_last_outcome
from stack.history.store import open_history
from tests.unit.history.test_store import START


@pytest.mark.parametrize(("outcome", "told"), [("ready", "ready"), ("failed", "failed"), (None, "unfinished")])
def test_the_last_boots_end_is_told_and_nothing_is_made(tmp_path, outcome, told):
    path = tmp_path / "history.sqlite"
    history = open_history(path, now=lambda: datetime(2026, 3, 4, tzinfo=UTC))
    number = history.record_boot(START)
    if outcome:
        history.finish_boot(number, outcome, total_seconds=4.0, cache_state="warm")
    before = sorted((item.name, item.stat().st_mtime_ns) for item in tmp_path.iterdir())
    assert peek_last_outcome(path) == told
    assert sorted((item.name, item.stat().st_mtime_ns) for item in tmp_path.iterdir()) == before


def test_no_history_an_empty_one_and_a_damaged_one_tell_nothing(tmp_path):
    path = tmp_path / "history.sqlite"
    assert peek_last_outcome(path) is None
    open_history(path)
    assert peek_last_outcome(path) is None
    path.write_bytes(b"no database at all, but long enough to be taken for one" * 40)
    assert peek_last_outcome(path) is None
