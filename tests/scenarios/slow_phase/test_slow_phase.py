"""A phase that takes far longer than before must be told with what the engine does, and must not be killed."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.scenarios.harness import Done, Stack
from tests.scenarios.projects import render_config


@pytest.fixture(scope="module")
def slow(make_stack: Callable[..., Stack], fake_engine: str) -> Done:
    """The second boot of a project, which loads for 14 s what was there at once before."""
    stack = make_stack("slow", render_config(fake_engine))
    stack.run("up", "--no-smoke").demand()
    stack.write_config(render_config(fake_engine, "--load-seconds 14"))
    return stack.run("up", "--no-smoke").demand()


def test_a_slow_phase_is_told_with_its_time_before_and_what_the_engine_does(slow: Done) -> None:
    said = re.findall(
        r"^load takes longer than before \(\d\d s; \d\.\d s the last time\): the engine computes, CPU (\d+) %$",
        slow.err,
        re.MULTILINE,
    )
    # Once: the next time would be when it has doubled. A whole core, less what else runs on this machine.
    assert len(said) == 1 and int(said[0]) > 20, slow.err


def test_it_is_not_killed_and_its_phase_is_counted(slow: Done) -> None:
    assert re.search(r"load took (?:1[4-9]|[2-9]\d)\.\d s, in the last boot of this kind 0\.\d s", slow.out), slow.out
