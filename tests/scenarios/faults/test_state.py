"""A state directory that is damaged, of another version or read-only must cost neither the stack nor what it keeps."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.scenarios.engine import answers
from tests.scenarios.harness import Stack
from tests.scenarios.projects import build_small_stack, render_small_config

Damage = Callable[[Path], None]
GARBAGE = b"\x00\xff\x1b[2J no such thing \xfe" * 50


@pytest.fixture(scope="module")
def stack(make_stack: Callable[..., Stack], fake_engine: str) -> Stack:
    made = build_small_stack(make_stack, "state", render_small_config(fake_engine, more="api-key = true"))
    made.run("up", "--no-smoke").demand()
    return made


def read_start(stack: Stack) -> tuple[str, str]:
    engine = stack.containers()["engine"]
    return engine["Id"], engine["State"]["StartedAt"]


def fill_with_garbage(state: Path) -> None:
    for name in ("state.json", "rendered/compose.override.json", "lock"):
        (state / name).write_bytes(GARBAGE)


def set_version(version: int) -> Damage:
    def rewrite(state: Path) -> None:
        path = state / "state.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": version, "later": [1]}))

    return rewrite


def empty_everything(state: Path) -> None:
    for path in state.rglob("*"):
        if path.is_file() and path.parent.name != "secrets":
            path.write_bytes(b"")


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(
            fill_with_garbage,
            id="garbage",
            marks=pytest.mark.fault(
                "`state.json`, the rendered override or the lock file in the state directory is damaged",
                "`stack up` finds anew what they held; the engine runs on and keeps its port",
            ),
        ),
        pytest.param(
            set_version(0),
            id="older",
            marks=pytest.mark.fault(
                "The state directory is of an older version",
                "`stack up` takes the stack over as it runs, without a restart",
            ),
        ),
        pytest.param(
            empty_everything,
            id="empty",
            marks=pytest.mark.fault(
                "Every file of the state directory is empty, as after a crash of the machine",
                "`stack up` takes the stack over as it runs, without a restart",
            ),
        ),
    ],
)
def test_what_can_be_found_again_is_found_again(stack: Stack, damage: Damage) -> None:
    before = read_start(stack)
    damage(stack.state)
    status = stack.run("status").demand()
    assert "running" in status.out and "Traceback" not in status.err
    done = stack.run("up", "--no-smoke").demand()
    assert "\x1b" not in done.err
    assert read_start(stack) == before
    assert answers(stack)
    assert "nothing to do" in stack.run("up", "--no-smoke").demand().err


@pytest.mark.fault("The history is damaged", "It is moved aside and said, a new one begins, and the stack runs on")
def test_a_damaged_history_is_set_aside_and_up_goes_on(stack: Stack) -> None:
    before = read_start(stack)
    path = stack.state / "history.sqlite"
    for part in stack.state.glob("history.sqlite-*"):
        part.unlink()
    path.write_bytes(path.read_bytes()[:2000] + GARBAGE)
    damaged = path.read_bytes()
    assert "running" in stack.run("status").demand().out
    done = stack.run("up", "--no-smoke").demand()
    (aside,) = stack.state.glob("history.sqlite.damaged-*")
    assert f"is damaged; it was moved to {aside}" in done.err
    assert aside.read_bytes() == damaged
    assert read_start(stack) == before
    stack.run("up", "--no-smoke").demand()


@pytest.mark.fault(
    "A secret in the state directory is empty or damaged",
    "`stack up` makes a new one and starts anew what reads it; no secret shows in any output",
)
def test_a_secret_that_is_none_is_made_anew(stack: Stack) -> None:
    key = stack.state / "secrets" / "api_key"
    old = key.read_text()
    key.write_bytes(GARBAGE)
    asked = stack.run("chat", "x")
    assert asked.code != 0 and "Traceback" not in asked.err
    done = stack.run("up", "--no-smoke").demand()
    assert key.read_text() not in ("", old)
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.read_text() not in done.out + done.err
    assert answers(stack)


@pytest.mark.fault(
    "The history was written by a newer version",
    "exit 1 before anything is started, with how to set it aside; it is left as it is, and what runs goes on",
)
def test_a_history_of_a_newer_version_is_left_alone(stack: Stack) -> None:
    before = read_start(stack)
    path = stack.state / "history.sqlite"
    kept = path.read_bytes()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    done = stack.run("up", "--no-smoke").demand(1)
    assert f"the history at {path} was written by a newer version" in done.err
    assert f"mv {path} {path}.newer" in done.err
    assert "running" in stack.run("status").demand().out
    assert read_start(stack) == before
    path.write_bytes(kept)
    stack.run("up", "--no-smoke").demand()


@pytest.mark.fault(
    "`stack.lock` is damaged",
    "Exit 2 with what to do; nothing is started or changed, and what runs goes on",
)
def test_a_lock_that_cannot_be_read_is_told_and_left_alone(stack: Stack) -> None:
    before = read_start(stack)
    lock = stack.folder / "stack.lock"
    kept = lock.read_text()
    lock.write_text("not = [toml")
    done = stack.run("up", "--no-smoke").demand(2)
    assert "is damaged" in done.err and "hint: " in done.err and str(lock) in done.err
    assert lock.read_text() == "not = [toml"
    assert read_start(stack) == before
    lock.write_text(kept)
    assert "nothing to do" in stack.run("up", "--no-smoke").demand().err


@pytest.fixture
def read_only(stack: Stack) -> Iterator[Callable[[str], None]]:
    """Give a function that mounts the state directory upon itself, `ro` or `rw`."""
    subprocess.run(["mount", "--bind", stack.state, stack.state], check=True)

    def remount(how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,bind,{how}", stack.state], check=True)

    yield remount
    subprocess.run(["umount", "--lazy", stack.state], check=True)


@pytest.mark.root
@pytest.mark.fault(
    "The state directory is read-only",
    "`stack up` ends with 3 and its path before anything is touched; `status`, `logs`, `chat` and `down` work",
)
def test_a_read_only_state_keeps_up_from_starting_and_nothing_else(
    stack: Stack, fake_engine: str, read_only: Callable[[str], None]
) -> None:
    before = read_start(stack)
    read_only("ro")
    assert "running" in stack.run("status").demand().out
    assert stack.run("logs", "engine", "--lines", "1").demand().out
    assert answers(stack)
    stack.environ["STACK_ENGINE_ENV_OTHER"] = "1"
    done = stack.run("up", "--no-smoke").demand(3)
    assert str(stack.state) in done.err and "STACK_STATE_HOME" in done.err and "hint: " in done.err
    assert "Traceback" not in done.err
    assert read_start(stack) == before
    down = stack.run("down").demand()
    assert "Traceback" not in down.err
    assert stack.containers() == {}
    read_only("rw")
    stack.run("up", "--no-smoke").demand()
    assert answers(stack)
    assert os.access(stack.state / "state.json", os.W_OK)
