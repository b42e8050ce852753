"""A configuration that cannot be used must be told whole, and what runs must not notice it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.scenarios.harness import Stack
from tests.scenarios.projects import build_small_stack, render_small_config


@pytest.mark.fault(
    "`stack.toml` is broken while the stack runs",
    "exit 2 of every command; what runs goes on, and with the file mended there is nothing to do",
)
def test_a_broken_configuration_touches_nothing_that_runs(make_stack: Callable[..., Stack], fake_engine: str) -> None:
    sound = render_small_config(fake_engine)
    stack = build_small_stack(make_stack, "config", sound)
    stack.run("up", "--no-smoke").demand()
    before = stack.containers()["engine"]
    for broken in (sound + "[engine\n", sound.replace("[engine]", "[engin]"), sound + '[smoke]\nconcurrency = "x"\n'):
        stack.write_config(broken)
        for command in ("up", "down", "status"):
            done = stack.run(command).demand(2)
            assert done.err.startswith("error: ") and "stack.toml:" in done.err
            assert "Traceback" not in done.err and done.out == ""
    after = stack.containers()["engine"]
    assert (after["Id"], after["State"]["StartedAt"]) == (before["Id"], before["State"]["StartedAt"])
    stack.write_config(sound)
    assert "nothing to do" in stack.run("up", "--no-smoke").demand().err
