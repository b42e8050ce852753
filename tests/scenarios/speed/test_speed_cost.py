"""The cost script must take all its figures of a real Prometheus, and leave nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scenarios.harness import ROOT, run_docker

SHORT = ("--pairs", "1", "--seconds", "6", "--minutes", "0", "--hours", "0.5", "--repeats", "1")


@pytest.fixture(scope="module")
def document(fake_engine: str, shared_models: Path) -> dict:
    argv = [sys.executable, str(ROOT / "scripts" / "lib" / "speed_cost.py"), *SHORT, "--json"]
    environ = dict(os.environ) | {"XDG_DATA_HOME": str(shared_models)}
    done = subprocess.run(argv, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def rows(document: dict) -> dict[str, dict]:
    return {row["name"]: row for row in document["rows"]}


def test_tokens_a_second_are_compared(rows: dict[str, dict]) -> None:
    ratio = rows["with / paused, in pairs"]
    assert (ratio["runs"], ratio["target"]) == (1, 0.99) and ratio["value"] > 0
    assert rows["CPU of the services, of the machine"]["value"] > 0
    assert 0 < rows["CPU time that they leave"]["value"] < 1


def test_memory_is_that_of_prometheus_and_node_exporter(rows: dict[str, dict]) -> None:
    sizes = {name: rows[f"memory of {name}, scraping"]["value"] for name in ("prometheus", "node-exporter")}
    assert min(sizes.values()) > 1
    assert rows["memory in all, scraping"]["value"] >= sum(sizes.values())


def test_series_are_counted_of_everything_that_is_scraped(rows: dict[str, dict]) -> None:
    counts = {name.removeprefix("series "): row["value"] for name, row in rows.items() if row["unit"] == "series"}
    assert all(counts[name] > 0 for name in ("of this engine, kept", "of node-exporter", "of Prometheus itself"))
    # Of Prometheus itself it was told a scrape ago.
    assert counts["in all"] >= counts["of this engine, kept"] + counts["of node-exporter"]


def test_the_day_that_queries_meet_has_data_of_the_engine_the_rules_the_host_boards_and_runs(
    rows: dict[str, dict],
) -> None:
    queries = {name: row["series"] for name, row in rows.items() if row["series"] is not None}
    for name in (
        "requests: Prompt lengths (A)",
        "overview: TTFT p95 (A)",
        "host: CPU by kind of work (A)",
        "gpu: Clocks (A)",
        "runs: The last boots (A)",
        "overview: Smoke checks (A)",
        "slo: Burn rate over 1 hour (A)",
    ):
        assert queries[name] > 0, name


@pytest.mark.parametrize("kind", ["container", "volume", "network"])
def test_nothing_of_it_is_left(document: dict, kind: str) -> None:
    label = f"label=com.docker.compose.project={document['project']}"
    every = ["--all"] if kind == "container" else []
    assert run_docker(kind, "ls", *every, "--quiet", "--filter", label) == ""
