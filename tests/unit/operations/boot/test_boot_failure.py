"""How the end of a boot is told where the engine's log has no cause."""

from __future__ import annotations

import pytest

from stack.operations.boot.failure import BootEnd, describe_exit


def end(status: int | None, *lines: str) -> BootEnd:
    return BootEnd(lines, "\n".join(lines), 3.0, status)


def test_an_engine_that_was_told_to_end_lets_one_think_of_docker():
    told = describe_exit(end(143, "INFO all is well", "engine exited with code 143"))
    assert "told to end (exit status 143), by somebody or by Docker as it stopped" in told.message
    assert "`docker info`" in told.hint


@pytest.mark.parametrize(
    "found", [end(1, "INFO all is well"), end(None), end(143, "RuntimeError: something broke before that")]
)
def test_any_other_end_is_told_as_it_was(found):
    assert "told to end" not in describe_exit(found).message
