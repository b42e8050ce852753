"""The verdict on dashboards rests on what was asked, and says what that was."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stack.assets import asset_path
from stack.checks.report import render_junit
from stack.errors import ConfigError, HostError
from stack.operations import dashboards_check
from stack.operations.dashboards_check import check_dashboards, find_files, find_newest_inventory
from stack.operations.dashboards_report import build_document, build_report, render_lines
from stack.telemetry.contract.inventory import load_inventory

SESSION: Any = SimpleNamespace(
    config=SimpleNamespace(services=SimpleNamespace(prometheus=SimpleNamespace(scrape_interval_seconds=15))),
    project="p",
    say=lambda text: None,
    report=lambda event: None,
)


@pytest.fixture(autouse=True)
def no_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(session: Any) -> Any:
        raise HostError("Docker does not answer")

    monkeypatch.setattr(dashboards_check, "read_status", refuse)


def check(*paths: Path, **more: Any) -> Any:
    return check_dashboards(SESSION, paths, **({"engine": None, "prometheus": None, "inventory": None} | more))


def write_board(folder: Path, expr: str) -> Path:
    path = folder / "board.json"
    path.write_text(json.dumps({"uid": "x", "panels": [{"title": "P", "targets": [{"refId": "A", "expr": expr}]}]}))
    return path


def test_the_shipped_files_pass_without_docker_against_the_newest_inventory() -> None:
    checked = check()
    assert checked.is_passed
    assert checked.source == load_inventory(find_newest_inventory()).source
    assert len(checked.queries) > 50
    assert render_lines(checked)[-1].startswith(f"passed: {len(checked.queries)} queries of ")


def test_every_shipped_inventory_can_be_read() -> None:
    kept = [load_inventory(path) for path in asset_path("prometheus", "inventories").glob("*.json")]
    assert len(kept) >= 2
    assert all("vllm:num_requests_running" in one.series for one in kept)


def test_an_older_inventory_lacks_what_came_later(tmp_path: Path) -> None:
    board = write_board(tmp_path, "rate(vllm:admission_rejections_total[5m])")
    older = asset_path("prometheus", "inventories", "vllm-0.31.0.json")
    assert check(board).is_passed
    assert [fault.rule for fault in check(board, inventory=older).faults] == ["dead-metric"]


def test_an_error_fails_and_is_told_in_every_form(tmp_path: Path) -> None:
    checked = check(write_board(tmp_path, "rate(vllm:num_requests_running[5m])"))
    assert not checked.is_passed
    lines = render_lines(checked)
    assert lines[0].startswith("error") and "[rate-over-gauge]" in lines[0] and lines[1].strip().startswith("hint:")
    assert lines[-1].startswith("failed: 1 queries of 1 files")
    document = build_document(checked)
    assert (document["passed"], document["faults"][0]["rule"]) == (False, "rate-over-gauge")
    assert 'failures="1"' in render_junit(build_report(checked), "x")


def test_a_warning_does_not_fail(tmp_path: Path) -> None:
    checked = check(write_board(tmp_path, "histogram_quantile(0.9, rate(vllm:e2e_request_latency_seconds_bucket[5m]))"))
    assert checked.is_passed and [fault.severity for fault in checked.faults] == ["warning"]


def test_paths_that_give_nothing_are_all_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError) as caught:
        find_files([tmp_path / "empty", tmp_path / "missing.json"])
    assert [problem.message for problem in caught.value.problems] == [
        "holds no .json, .yaml or .yml file",
        "does not exist",
    ]
