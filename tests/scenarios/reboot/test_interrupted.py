"""`stack up` met by another command: nothing is corrupt, and the next `up` goes on; every step: `faults/`."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.scenarios.harness import INTERRUPTED, Stack, start
from tests.scenarios.reboot.test_reboot import answers, read_engine, render_config


def read_boots(stack: Stack) -> list[str]:
    """Give the outcome of every boot on record."""
    connection = sqlite3.connect(stack.state / "history.sqlite")
    try:
        return [row[0] for row in connection.execute("SELECT outcome FROM boots ORDER BY id")]
    finally:
        connection.close()


def list_leftovers(stack: Stack) -> list[str]:
    """List files that were being written when the tool ended."""
    return [path.name for path in stack.state.rglob(".*") if path.is_file()]


def assert_up_goes_on(stack: Stack) -> None:
    stack.run("up", "--no-smoke").demand()
    assert answers(stack)
    assert stack.run("up", "--no-smoke", "--dry-run", "--json").demand().json()["steps"] == []
    assert list_leftovers(stack) == []


@pytest.mark.network
def test_an_interrupted_fetch_is_gone_on_with(
    make_stack: Callable[..., Stack], fake_engine: str, tmp_path: Path
) -> None:
    stack = make_stack("fetch", render_config(fake_engine), data=tmp_path)
    with start(stack, "up", "--no-smoke") as up:
        up.wait_said("model smollm2-135m-instruct: ")
        assert up.end(signal.SIGINT) == INTERRUPTED
        assert "Traceback" not in up.said
    assert stack.containers() == {}
    assert_up_goes_on(stack)
    stack.run("warm", "--verify").demand()


@pytest.mark.fault(
    "`stack up` twice at once",
    "the second waits, says for whom, and finds nothing to do",
)
def test_of_two_ups_at_once_the_second_waits_and_finds_nothing_to_do(
    make_stack: Callable[..., Stack], fake_engine: str
) -> None:
    stack = make_stack("twice", render_config(fake_engine, "--boot-seconds 8"))
    with start(stack, "up", "--no-smoke") as first:
        first.wait_said("\nboot: ")
        second = stack.run("up", "--no-smoke").demand()
        assert "`stack up` (process " in second.err
        assert "nothing to do" in second.err
        assert first.process.wait(30) == 0
    assert read_boots(stack) == ["ready"]


@pytest.mark.fault(
    "`stack down` during `stack up`",
    "it waits for `up`, says so, and takes everything down",
)
def test_down_waits_for_an_up_and_then_takes_everything_down(
    make_stack: Callable[..., Stack], fake_engine: str
) -> None:
    stack = make_stack("downed", render_config(fake_engine, "--boot-seconds 8"))
    with start(stack, "up", "--no-smoke") as up:
        up.wait_said("\nboot: ")
        down = stack.run("down").demand()
        assert "`stack up` (process " in down.err
        assert up.process.wait(30) == 0
    assert stack.containers() == {}
    assert_up_goes_on(stack)


@pytest.mark.fault(
    "the engine's container is removed under `stack up`",
    "exit 5 at once; the boot is on record as failed",
)
def test_an_engine_that_is_taken_away_under_an_up_is_told_at_once(
    make_stack: Callable[..., Stack], fake_engine: str
) -> None:
    stack = make_stack("removed", render_config(fake_engine, "--boot-seconds 300"))
    with start(stack, "up", "--no-smoke") as up:
        up.wait_said("\nboot: ")
        subprocess.run(["docker", "rm", "--force", read_engine(stack)["Id"]], check=True, capture_output=True)
        assert up.process.wait(20) == 5
        assert "Traceback" not in up.said
    assert read_boots(stack) == ["failed"]
    assert json.loads(stack.run("status", "--json").demand().out)["services"] == []
