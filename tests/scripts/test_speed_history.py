"""The script that measures the history: that it fills one and asks all it says; how fast is nobody's assertion."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from stack.history.store import open_history

PATH = Path(__file__).resolve().parents[2] / "scripts" / "lib" / "speed_history.py"


@pytest.fixture(scope="module")
def speed():
    spec = importlib.util.spec_from_file_location("speed_history_script", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_history_has_as_many_runs_as_were_asked_for(speed, tmp_path):
    history = open_history(tmp_path / "history.sqlite")
    speed.fill(history, 200)
    with history.reading() as connection:
        tables = ("boots", "smokes", "runs")
        counts = [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]
    assert counts == [80, 80, 40]
    assert {run.kind for run in history.list_runs()} == {"replay", "upgrade"}


def test_every_query_is_asked_and_told(speed, capsys):
    assert speed.main(["--runs", "20", "--repeats", "1"]) in (0, 1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("20 runs, ")
    assert len(lines) == 2 + 11


def test_what_takes_too_long_is_told(speed):
    assert speed.render_row("a query", [0.05, 0.2, 0.3]).split()[-3:] == ["200.0", "300.0", "NO"]
    assert speed.render_row("a query", [0.05, 0.05, 0.3]).split()[-3:] == ["50.0", "300.0", "yes"]
