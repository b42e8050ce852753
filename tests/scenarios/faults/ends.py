"""`stack up` is ended by each signal, and must go on from there."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Callable
from typing import Any

from tests.scenarios.harness import INTERRUPTED, Running, Stack, run_docker, start

SIGNALS = (signal.SIGINT, signal.SIGKILL, signal.SIGTERM)


def remove_containers(stack: Stack) -> None:
    if ids := [item["Id"] for item in stack.containers().values()]:
        run_docker("rm", "--force", *ids)


def end_three_times(stack: Stack, wait: Callable[[Running], None], before: Callable[[], None] = lambda: None) -> None:
    """End `up` by each signal, in the step that `wait` waits for; each but the first finds what the last left."""
    for number in SIGNALS:
        before()
        with start(stack, "up") as up:
            wait(up)
            code = up.end(number)
            assert code == (-number if number == signal.SIGKILL else INTERRUPTED), up.said
            assert "Traceback" not in up.said
            assert number == signal.SIGKILL or "the same command goes on from here" in up.said


def assert_up_goes_on(stack: Stack) -> None:
    done = stack.run("up").demand()
    assert "Traceback" not in done.err
    document = stack.status()
    assert (document["state"], document["drift"], document["boot"]["outcome"]) == ("up", [], "ready")
    assert document["smoke"]["passed"]
    assert [path.name for path in stack.state.rglob(".*") if path.is_file()] == []
    assert read_history(stack, "PRAGMA integrity_check") == ["ok"]


def read_history(stack: Stack, query: str) -> list[Any]:
    connection = sqlite3.connect(stack.state / "history.sqlite")
    try:
        return [row[0] for row in connection.execute(query)]
    finally:
        connection.close()
