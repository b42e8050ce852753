"""`stack verify`: what it is told to write is looked at before the chain runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from stack.errors import StackError
from stack.operations.verify import run as verify


@pytest.mark.parametrize("flag", ["--report", "--junit"])
def test_a_report_that_could_not_be_written_is_told_before_anything_is_run(
    invoke: Callable[..., Result], folder: Path, monkeypatch: pytest.MonkeyPatch, flag: str
) -> None:
    monkeypatch.setattr(verify, "run", lambda session, options: pytest.fail("it was begun"))
    (folder / "file").write_text("")
    with pytest.raises(StackError, match="file/report cannot be written"):
        invoke("verify", flag, "file/report")
