"""The command line, in a process of its own and inside this one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Run:
    """What a run of `stack` ended with."""

    code: int
    out: str
    err: str


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of the runs; a stack.toml in it is found."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def run_stack(folder: Path) -> Callable[..., Run]:
    """A function: arguments and variables give what `python -m stack` ended with."""

    def run(*arguments: str, stdin: str = "", **environ: str) -> Run:
        done = subprocess.run(
            [sys.executable, "-m", "stack", *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
            input=stdin, capture_output=True, text=True, cwd=folder,
        )  # fmt: skip
        return Run(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def invoke(folder: Path) -> Callable[..., Result]:
    """A function: arguments give what the command did in this process; an unexpected exception is raised."""
    from stack.cli import cli

    def call(*arguments: str, **options: object) -> Result:
        return CliRunner().invoke(cli, list(arguments), catch_exceptions=False, prog_name="stack", **options)

    return call
