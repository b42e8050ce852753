"""Two commands at once must end as if one had come after the other, or say why not."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.scenarios.faults.ends import assert_up_goes_on, read_history
from tests.scenarios.harness import Running, Stack, start
from tests.scenarios.projects import build_small_stack, render_small_config


@pytest.fixture(scope="module")
def stack(make_stack: Callable[..., Stack], fake_engine: str) -> Stack:
    stack = build_small_stack(make_stack, "races", render_small_config(fake_engine, "--boot-seconds 2"))
    stack.run("up", "--no-smoke").demand()
    return stack


@contextmanager
def held(first: Running, said: str) -> Iterator[Callable[[Running, str], None]]:
    """Stop a command where it says so, and give what lets it go on once another one waits for it."""
    first.wait_said(said)
    first.process.send_signal(signal.SIGSTOP)

    def let_go(second: Running, whom: str) -> None:
        second.wait_said(f"`{whom}` (process {first.process.pid})")
        first.process.send_signal(signal.SIGCONT)
        assert first.wait_end() == 0, first.said
        assert second.wait_end() == 0, second.said

    try:
        yield let_go
    finally:
        first.process.send_signal(signal.SIGCONT)


@pytest.mark.fault("`stack up` during `stack down`", "it waits, says for whom, and then brings the stack up")
def test_up_waits_for_a_down_and_then_brings_everything_up(stack: Stack) -> None:
    before = stack.containers()["engine"]["Id"]
    with start(stack, "down") as down, held(down, "down: stopping") as let_go, start(stack, "up", "--no-smoke") as up:
        let_go(up, "stack down")
    assert stack.containers()["engine"]["Id"] != before
    assert stack.status()["state"] == "up"


@pytest.mark.fault("`stack up` twice at once", "the second waits, says for whom, and finds nothing to do")
def test_of_two_ups_at_once_the_second_waits_and_finds_nothing_to_do(stack: Stack) -> None:
    stack.run("down").demand()
    before = len(read_history(stack, "SELECT outcome FROM boots"))
    with (
        start(stack, "up", "--no-smoke") as first,
        held(first, "\nboot: ") as let_go,
        start(stack, "up", "--no-smoke") as second,
    ):
        let_go(second, "stack up")
        assert "nothing to do" in second.said
    assert read_history(stack, "SELECT outcome FROM boots ORDER BY id")[before:] == ["ready"]


@pytest.mark.fault("`stack down` during `stack up`", "it waits for `up`, says so, and takes everything down")
def test_down_waits_for_an_up_and_then_takes_everything_down(stack: Stack) -> None:
    stack.run("down").demand()
    with start(stack, "up", "--no-smoke") as up, held(up, "\nboot: ") as let_go, start(stack, "down") as down:
        let_go(down, "stack up")
    assert stack.containers() == {}
    assert_up_goes_on(stack)


@pytest.mark.fault("`stack smoke` during `stack up`", "it waits for `up`, says so, and tests the stack that is then up")
def test_smoke_waits_for_an_up_and_tests_what_it_brought(stack: Stack) -> None:
    stack.run("down").demand()
    with start(stack, "up", "--no-smoke") as up, held(up, "\nboot: ") as let_go, start(stack, "smoke") as smoke:
        let_go(smoke, "stack up")
    assert stack.status()["smoke"]["passed"]


@pytest.mark.fault(
    "`stack up` of two projects at once", "each gets its own ports; a port lost to the other is chosen anew, and said"
)
def test_two_projects_come_up_at_once_and_share_no_port(make_stack: Callable[..., Stack], fake_engine: str) -> None:
    stacks = [build_small_stack(make_stack, f"both-{number}", render_small_config(fake_engine)) for number in range(3)]
    with start(stacks[0], "up") as first, start(stacks[1], "up") as second, start(stacks[2], "up") as third:
        for up in (first, second, third):
            assert up.wait_end() == 0, up.said
    assert len({stack.url("engine") for stack in stacks}) == 3
    assert [stack.status()["state"] for stack in stacks] == ["up"] * 3


@pytest.mark.fault("`stack down` twice at once", "the second waits, and finds nothing to stop")
def test_of_two_downs_at_once_the_second_finds_nothing(stack: Stack) -> None:
    with start(stack, "down") as first, held(first, "down: stopping") as let_go, start(stack, "down") as second:
        let_go(second, "stack down")
    assert stack.containers() == {}
