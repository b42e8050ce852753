"""The verdict on dashboards rests on what was asked, and says what that was."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stack.assets import asset_path
from stack.checks.report import render_junit
from stack.config.lock import Lock, LockedEngine
from stack.errors import ConfigError, HostError, NotRunningError
from stack.operations.dashboards import check as dashboards_check
from stack.operations.dashboards.check import Checked, check_dashboards, fetch_engine_inventory, find_files
from stack.operations.dashboards.report import build_document, build_report, render_lines
from stack.telemetry.contract.check import Answer
from stack.telemetry.contract.inventory import load_inventory, render_inventory
from stack.telemetry.contract.kept import find_kept_inventory
from tests.fixtures.stub_engine import FakeEngine

SESSION: Any = SimpleNamespace(
    config=SimpleNamespace(
        services=SimpleNamespace(prometheus=SimpleNamespace(scrape_interval_seconds=15)),
        engine=SimpleNamespace(version=None),
    ),
    project="p",
    say=lambda text: None,
    report=lambda event: None,
)


@pytest.fixture(autouse=True)
def no_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(session: Any) -> Any:
        raise HostError("Docker does not answer")

    monkeypatch.setattr(dashboards_check, "read_status", refuse)
    lock_version(monkeypatch, None)


def lock_version(monkeypatch: pytest.MonkeyPatch, version: str | None) -> None:
    engine = LockedEngine(commit_level="unknown", version=version, accepted="verified") if version else None
    monkeypatch.setattr(dashboards_check, "load_project_lock", lambda session: Lock(engine=engine))


def check(*paths: Path, **more: Any) -> Any:
    return check_dashboards(SESSION, paths, **({"engine": None, "prometheus": None, "inventory": None} | more))


def write_board(folder: Path, expr: str) -> Path:
    path = folder / "board.json"
    path.write_text(json.dumps({"uid": "x", "panels": [{"title": "P", "targets": [{"refId": "A", "expr": expr}]}]}))
    return path


def test_the_shipped_files_pass_without_docker_against_the_newest_inventory() -> None:
    checked = check()
    assert checked.is_passed
    assert checked.source == load_inventory(find_kept_inventory(None).path).source
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
    (fault,) = check(board, inventory=older).faults
    assert fault.rule == "conditional" and "exists since vLLM 0.32.0, and this engine is older" in fault.message


def test_names_are_held_against_the_version_that_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = write_board(tmp_path, "rate(vllm:admission_rejections_total[5m])")
    said: list[str] = []
    monkeypatch.setattr(SESSION, "say", said.append)
    lock_version(monkeypatch, "0.31.0")
    assert check(board).source == "vLLM 0.31.0"
    assert [fault.rule for fault in check(board).faults] == ["conditional"]
    assert not any("is kept" in text for text in said)
    lock_version(monkeypatch, "0.31.2")
    assert check(board).source == "vLLM 0.31.0"
    assert said[-1] == "no inventory of vLLM 0.31.2 is kept: names are held against the nearest, 0.31.0"


def test_an_inventory_says_the_version_that_its_engine_says_and_is_the_same_each_time() -> None:
    engine = FakeEngine()
    try:
        found, version = fetch_engine_inventory(SESSION, f"{engine.url}/metrics")
        again, _ = fetch_engine_inventory(SESSION, engine.url)
    finally:
        engine.close()
    assert version == "0.32.0" and "vllm:num_requests_running" in found.series
    text = render_inventory(found, version=version, commit=None)
    assert text == render_inventory(again, version=version, commit=None)
    names = list(json.loads(text)["series"])
    assert names == sorted(names)


def test_an_error_fails_and_is_told_in_every_form(tmp_path: Path) -> None:
    checked = check(write_board(tmp_path, "rate(vllm:num_requests_running[5m])"))
    assert not checked.is_passed
    lines = render_lines(checked)
    assert lines[0].startswith("error") and "[rate-over-gauge]" in lines[0] and lines[1].strip().startswith("hint:")
    assert lines[-1].startswith("failed: 1 queries of 1 files")
    document = build_document(checked)
    assert (document["passed"], document["faults"][0]["rule"]) == (False, "rate-over-gauge")
    assert 'failures="1"' in render_junit(build_report(checked), "x")


def test_names_and_labels_that_nobody_was_asked_for_share_a_line(tmp_path: Path) -> None:
    expr = 'node_a + node_b + node_c + node_d + node_a + vllm:num_requests_running{pod="x",team="y"}'
    lines = render_lines(check(write_board(tmp_path, expr)))
    said = (
        "not checked  node_a, node_b, node_c, node_d, pod and 1 more: not the engine's; --prometheus URL asks for them"
    )
    assert lines[0] == said and lines[-1].endswith("0 errors, 0 warnings, 6 notes")


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


def test_strict_fails_for_what_is_empty_without_a_reason_and_needs_a_prometheus(tmp_path: Path) -> None:
    board = write_board(tmp_path, "up")
    with pytest.raises(NotRunningError):
        check(board, is_strict=True)
    checked = check(board)
    query = checked.queries[0]
    empty = Checked("x", checked.files, (), (Answer(query, "empty", "nothing matches"),))
    assert empty.is_passed and not replace(empty, is_strict=True).is_passed
    assert 'failures="0"' in render_junit(build_report(empty), "x")
    assert 'failures="1"' in render_junit(build_report(replace(empty, is_strict=True)), "x")
    waits = replace(empty, is_strict=True, answers=(Answer(query, "conditional", "only with a GPU"),))
    assert waits.is_passed and build_document(waits)["strict"] is True


def test_queries_that_wait_for_the_same_thing_share_a_line(tmp_path: Path) -> None:
    query = check(write_board(tmp_path, "up")).queries[0]
    answers = [Answer(query, "conditional", "only with a GPU")] * 3 + [Answer(query, "empty", "nothing matches")]
    lines = render_lines(Checked("x", (), (), tuple(answers)))
    assert lines[0].startswith("empty ") and lines[1].endswith("(A) and 2 more: only with a GPU")
    assert lines[-1].endswith("run: 3 conditional, 1 empty")
