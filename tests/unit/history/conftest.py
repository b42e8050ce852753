"""A history of one's own, and boots to put into it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import pytest

from stack.history.records import BootStart
from stack.history.store import History, open_history

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
START = BootStart(
    kind="k1",
    started_at=NOON,
    commit="a" * 40,
    commit_level="claimed",
    version="0.32.0",
    image_digest=None,
    image_id="sha256:1",
    model="org/name",
    revision="r1",
    device="cpu",
    args={"max-model-len": 2048, "limits": {"image": 0}},
    log_path="/logs/1.log",
)


@pytest.fixture
def history(tmp_path) -> History:
    return open_history(tmp_path / "history.sqlite", now=lambda: NOON)


def record_boot(history: History, outcome: str | None = "ready", cache_state: str = "warm", **changes: object) -> int:
    """Record the usual boot but for the changes, and give its number."""
    number = history.record_boot(replace(START, **changes))
    if outcome:
        history.finish_boot(number, outcome, total_seconds=40.0, cache_state=cache_state)
    return number


@pytest.fixture
def boot(history) -> Callable[..., int]:
    """A function: what differs from the usual boot gives the number of one that was recorded."""
    return partial(record_boot, history)
