"""The speed script must take every one of its figures, and leave nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scenarios.harness import ROOT, run_docker

FIGURES = {
    "stack up, first token",
    "docker compose up, first token",
    "stack's own share of up",
    "stack up, nothing to do",
    "stack status",
    "stack doctor",
    "stack --help",
    "stack down",
    "docker compose down",
    "stack's own share of down",
}


@pytest.fixture(scope="module")
def document(fake_engine: str, shared_models: Path) -> dict:
    argv = [sys.executable, str(ROOT / "scripts" / "lib" / "speed.py"), "--runs", "1", "--engine-only", "--json"]
    environ = dict(os.environ) | {"XDG_DATA_HOME": str(shared_models)}
    done = subprocess.run(argv, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_figure_is_taken(document: dict) -> None:
    rows = {row["name"]: row for row in document["rows"]}
    assert set(rows) == FIGURES
    assert {row["runs"] for row in rows.values()} == {1}
    assert all(rows[name]["median_seconds"] > 0 for name in FIGURES if "own share" not in name)
    assert rows["stack's own share of up"]["target_seconds"] == 2.0


@pytest.mark.parametrize("suffix", ["", "-ejected"])
def test_nothing_of_it_is_left(document: dict, suffix: str) -> None:
    label = f"label=com.docker.compose.project={document['project']}{suffix}"
    assert run_docker("container", "ls", "--all", "--quiet", "--filter", label) == ""
    assert run_docker("volume", "ls", "--quiet", "--filter", label) == ""
    assert run_docker("network", "ls", "--quiet", "--filter", label) == ""
