"""Whatever ends `stack up`, and in whichever step: nothing is corrupt, and the same command goes on from there."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from tests.scenarios.faults.ends import assert_up_goes_on, end_three_times, read_history, remove_containers
from tests.scenarios.harness import Stack
from tests.scenarios.projects import build_small_stack, render_small_config

SLOW = "--boot-seconds 1 --step-seconds 0.01"


@pytest.fixture(scope="module")
def whole(make_stack: Callable[..., Stack], fake_engine: str) -> Stack:
    return build_small_stack(make_stack, "ends", render_small_config(fake_engine, SLOW))


@pytest.fixture
def stack(whole: Stack) -> Stack:
    """The project as if it had never been up."""
    remove_containers(whole)
    shutil.rmtree(whole.state, ignore_errors=True)
    (whole.folder / "stack.lock").unlink(missing_ok=True)
    return whole


@pytest.mark.fault(
    "Ctrl-C, SIGTERM or SIGKILL while `stack up` decides", "nothing was changed; the same command starts anew"
)
def test_up_ends_while_it_decides(stack: Stack) -> None:
    lock = stack.state / "lock"
    end_three_times(stack, lambda up: up.wait(lock.exists, "the lock"), lambda: lock.unlink(missing_ok=True))
    assert stack.containers() == {}
    assert_up_goes_on(stack)


@pytest.mark.fault(
    "Ctrl-C, SIGTERM or SIGKILL while files are written",
    "each file is the old or the new one; the same command writes the rest",
)
def test_up_ends_while_it_writes_its_files(stack: Stack) -> None:
    def clear() -> None:
        remove_containers(stack)
        shutil.rmtree(stack.state / "rendered", ignore_errors=True)

    end_three_times(stack, lambda up: up.wait((stack.state / "rendered").exists, "a folder of files"), clear)
    assert_up_goes_on(stack)


@pytest.mark.fault(
    "Ctrl-C, SIGTERM or SIGKILL while Compose starts the services",
    "what Compose made stays; the same command finishes or replaces it",
)
def test_up_ends_while_compose_starts_the_services(stack: Stack) -> None:
    end_three_times(stack, lambda up: up.wait_said("services: starting"), lambda: remove_containers(stack))
    assert_up_goes_on(stack)


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(
            "boot: load",
            marks=pytest.mark.fault(
                "Ctrl-C, SIGTERM or SIGKILL while the engine boots",
                "the engine boots on; the same command follows that boot, and the boot is on record",
            ),
        ),
        pytest.param(
            "warm: first request",
            marks=pytest.mark.fault(
                "Ctrl-C, SIGTERM or SIGKILL while the engine is warmed", "the same command warms and tests it"
            ),
        ),
        pytest.param(
            "warm: done",
            marks=pytest.mark.fault(
                "Ctrl-C, SIGTERM or SIGKILL while the boot is recorded",
                "the history and the lock stay whole; the same command records what is missing",
            ),
        ),
        pytest.param(
            "smoke: running",
            marks=pytest.mark.fault(
                "Ctrl-C, SIGTERM or SIGKILL during the smoke test", "no verdict is recorded; the same command tests"
            ),
        ),
    ],
)
def test_up_ends_after_the_engine_was_started(stack: Stack, said: str) -> None:
    end_three_times(stack, lambda up: up.wait_said(said))
    if said.startswith("boot"):
        outcomes = read_history(stack, "SELECT outcome FROM boots ORDER BY id")
        assert (outcomes[0], outcomes[2]) == ("interrupted", "interrupted")
    assert_up_goes_on(stack)
    # It was one and the same start of the engine, which nobody disturbed.
    assert read_history(stack, "SELECT count(DISTINCT started_at) FROM boots") == [1]
