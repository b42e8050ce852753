"""`stack bench` must measure as often as was asked, keep what it measured, and say what it cannot tell."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import pytest

from stack.containers.one_shot import Ended
from stack.errors import CommandError, ConfigError, StackError
from stack.history.store import open_history
from stack.operations.bench import client as bench_client
from stack.operations.bench import run as bench
from stack.operations.bench.client import Run, build_failure
from stack.operations.bench.document import render_head, render_rows, render_tail
from stack.operations.bench.page import tell_bench
from stack.operations.bench.run import BenchOptions
from stack.operations.bench.target import BenchTarget, build_tokenizer_arguments, find_mounts, find_network
from stack.operations.project import make_folders
from stack.operations.status.engine import EngineStatus
from stack.traffic.bench_load import build_load
from stack.traffic.bench_result import RESULT_MARK
from tests.unit.operations.bench.bench_documents import COMMIT, STARTED, build_bench, build_measured, build_start

ENGINE = EngineStatus(
    commit=COMMIT, commit_level="verified", version="0.31.0", model="demo", revision="sha256:257c3afa88880c43",
    served_name="demo", device="cpu", image_id="sha256:1", image_digest=None,
)  # fmt: skip


class FakeClient:
    """Answers each load at the next speed; above `capacity` requests a second their first token takes long."""

    speeds: list[float] = []
    capacity = 4.0
    failed = 0
    interrupts_at: int | None = None

    def __init__(self, session, target, goodput_seconds):
        FakeClient.asked, FakeClient.bounds = [], goodput_seconds

    def run(self, load, *, seed, said, seconds):
        self.asked.append((said, load, seed, seconds))
        if self.interrupts_at == len(self.asked):
            raise KeyboardInterrupt
        speed = self.speeds[(len(self.asked) - 1) % len(self.speeds)]
        measured = build_measured(speed, 9.0 if (load.rate or 0) > self.capacity else 0.1, self.failed)
        if load.rate:
            rates = dict(measured.rates) | {"good_requests_per_second": min(load.rate, self.capacity)}
            measured = replace(measured, rates=rates)
        return Run(measured, 0, ("Not Found",) if self.failed else (), seed)


@pytest.fixture
def session(make_session, monkeypatch):
    session = make_session()
    make_folders(session.paths, 0)
    history = open_history(session.paths.history)
    boot = history.load_boot(history.record_boot(build_start()))
    target = BenchTarget(
        SimpleNamespace(boot=boot, served_name="demo"), ENGINE, 8000, "mine_metrics", "http://engine.metrics:8000",
        "/models/demo", (), {}, "2000:0", 2048, boot.start.host,
    )  # fmt: skip
    monkeypatch.setattr(bench, "read_target", lambda session: target)
    monkeypatch.setattr(bench, "remove_leftovers", lambda client, project, task: ["mine-bench-1"])
    monkeypatch.setattr(bench, "BenchClient", FakeClient)
    for name, value in {"speeds": [100.0, 101.0, 102.0], "failed": 0, "interrupts_at": None}.items():
        monkeypatch.setattr(FakeClient, name, value)
    return replace(session, connect=lambda: None)


def test_a_probe_decides_the_prompts_and_no_two_runs_have_the_same(session, said):
    document = bench.run(session, BenchOptions())
    names, loads, seeds, _ = zip(*FakeClient.asked, strict=True)
    assert names == ("probe", "repeat 1 of 3", "repeat 2 of 3", "repeat 3 of 3")
    assert [load.prompts for load in loads] == [8, 48, 48, 48]
    assert len(set(seeds)) == 4
    assert FakeClient.bounds == {"ttft": 2.5, "tpot": 0.2, "e2el": 60.0}
    assert (document["is_passed"], document["run"], document["completed"]) == (True, 1, 144)
    assert "removed the container mine-bench-1, which a killed run left" in said
    kept = open_history(session.paths.history).list_runs("bench")[0]
    assert kept.report["figures"] == document["figures"]
    assert "stack_bench_output_tokens_per_second" in (session.paths.metrics / "stack.prom").read_text()


def test_a_slower_engine_does_not_pass_and_is_asked_what_the_other_was(session, monkeypatch):
    bench.run(session, BenchOptions(preset="long-context"))
    monkeypatch.setattr(FakeClient, "speeds", [50.0, 51.0, 52.0])
    document = bench.run(session, BenchOptions(compare="last"))
    assert [name for name, *_ in FakeClient.asked][0] == "repeat 1 of 3"
    assert (document["preset"], document["compared"]["verdict"], document["is_passed"]) == (
        "long-context",
        "slower",
        False,
    )
    assert document["said"].endswith("slower against bench-1")
    kept = open_history(session.paths.history).load_run(2)
    assert (kept.passed, kept.report["compared"], kept.report["said"]) == (
        False,
        document["compared"],
        document["said"],
    )


def test_what_was_measured_is_kept_whatever_becomes_of_the_comparison(session, monkeypatch):
    bench.run(session, BenchOptions())
    monkeypatch.setattr(bench, "compare_benches", lambda old, new: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        bench.run(session, BenchOptions(compare="last"))
    kept = open_history(session.paths.history).load_run(2)
    assert (kept.passed, kept.report["compared"], len(kept.report["repeats"])) == (True, None, 3)


def test_a_load_that_no_longer_fits_is_refused_before_anything_is_measured(session, monkeypatch):
    bench.run(session, BenchOptions())
    target = bench.read_target(session)
    monkeypatch.setattr(bench, "read_target", lambda session: replace(target, max_model_len=191))
    with pytest.raises(ConfigError) as caught:
        bench.run(session, BenchOptions(compare="last"))
    assert "bench-1 takes 192 tokens with its answer, and this engine has room for 191" in caught.value.message
    assert FakeClient.asked == []
    monkeypatch.setattr(bench, "read_target", lambda session: replace(target, max_model_len=192))
    assert bench.run(session, BenchOptions(compare="last"))["compared"]


def test_a_sweep_ends_at_the_knee_and_measures_there(session, tmp_path):
    document = bench.run(session, BenchOptions(is_sweep=True, save_path=tmp_path / "bench.json"))
    assert document["sweep"]["knee"]["rate"] == document["load"]["rate"] < 4
    assert len(document["sweep"]["steps"]) > 2
    assert "at the knee of" in document["said"]
    assert json.loads((tmp_path / "bench.json").read_text())["figures"] == document["figures"]
    sections = {one.heading: one for one in tell_bench(document).sections}
    assert [plot.mark.text for plot in sections["Sweep"].plots] == ["knee", "knee"]
    rate = f"{document['load']['rate']:g}"
    assert [row[0].text for row in sections["Rates of the sweep"].rows if row[-1].text == "the knee"] == [rate]


def test_a_soak_shares_its_time_among_the_repeats_at_a_rate_that_the_engine_bears(session):
    bench.run(session, BenchOptions(preset="soak", minutes=3))
    _, load, _, seconds = FakeClient.asked[-1]
    assert (load.rate, round(seconds)) == (0.938, 61)
    assert load.prompts == 57


def test_what_takes_longer_than_was_asked_is_announced_and_given_the_time(session, said):
    bench.run(session, BenchOptions(rate=0.02))
    assert [seconds for *_, seconds in FakeClient.asked] == [30, 1200, 1200, 1200]
    assert "repeats: 3, about 61 min" in said


def test_a_sweep_of_a_slow_engine_gives_each_rate_its_time(session, monkeypatch):
    monkeypatch.setattr(FakeClient, "speeds", [0.64])
    monkeypatch.setattr(FakeClient, "capacity", 0.01)
    bench.run(session, BenchOptions(is_sweep=True))
    assert [(load.rate, seconds) for _, load, _, seconds in FakeClient.asked][:2] == [(None, 30), (0.005, 4800)]


def test_a_run_that_is_measured_again_is_given_the_time_that_it_took(session):
    session.paths.history.unlink()
    history = open_history(session.paths.history)
    repeats = [one | {"duration_seconds": 1000.0} for one in build_bench(1, 2, 3)["repeats"]]
    history.note_run("bench", STARTED, None, True, build_bench(1, 2, 3, repeats=repeats))
    bench.run(session, BenchOptions(compare="1"))
    assert [seconds for *_, seconds in FakeClient.asked] == [1000, 1000, 1000]


def test_a_document_that_could_not_be_written_is_told_before_anything_is_measured(session, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "read_target", lambda session: pytest.fail("it was begun"))
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError, match="cannot be written"):
        bench.run(session, BenchOptions(save_path=tmp_path / "file/bench.json"))


def test_an_interrupt_gives_what_had_come_and_keeps_none_of_it(session, monkeypatch):
    monkeypatch.setattr(FakeClient, "interrupts_at", 3)
    document = bench.run(session, BenchOptions())
    assert (document["is_interrupted"], document["is_passed"], len(document["repeats"])) == (True, False, 1)
    assert document["run"] is None
    assert open_history(session.paths.history).list_runs("bench") == []
    monkeypatch.setattr(FakeClient, "interrupts_at", 1)
    assert bench.run(session, BenchOptions())["said"] == "interrupted before the first repeat ended"


def test_requests_that_fail_are_no_pass_and_are_named(session, monkeypatch):
    monkeypatch.setattr(FakeClient, "failed", 2)
    document = bench.run(session, BenchOptions(repeats=1))
    assert not document["is_passed"]
    assert "2 requests failed: Not Found" in render_tail(document)
    assert "fewer than three repeats tell nothing about noise, and are not compared" in render_tail(document)


def test_the_text_has_load_rates_latencies_and_the_verdict_last(session):
    bench.run(session, BenchOptions())
    document = bench.run(session, BenchOptions(compare="1"))
    head = render_head(document)
    assert head[0] == f"vLLM 0.31.0 {COMMIT} (verified)"
    assert head[2] == "load   chat: 48 requests a repeat, 128 tokens in, 64 out, 4 at a time"
    assert any(
        line.startswith("output tok/s") and line.endswith("each: 100, 101, 102  (spread 2.0%)") for line in head
    ), head
    assert render_rows(document)[0] == ["TTFT", "100 ms", "100 ms", "200 ms", "300 ms", "spread 0.0%"]
    assert render_tail(document)[-1].startswith("output tok/s: same: ")


def test_the_page_has_figures_with_their_scatter_and_a_bar_for_each_repeat():
    told = tell_bench(build_bench(100, 101, 102))
    speed, bars, latencies, load = told.sections
    assert [cell.text for cell in speed.rows[0]] == ["output tokens", "101", "100 to 102"]
    assert [bar.text for bar in bars.bars] == ["100 tok/s", "101 tok/s", "102 tok/s"]
    assert [len(row) for row in latencies.rows] == [len(latencies.header)] * 4
    assert load.rows[0][1].text == "chat: 48 requests a repeat, 128 tokens in, 64 out, 4 at a time"
    assert (told.summary, told.reasons, told.notes) == ("what came of it", [], [])


def test_the_page_tells_what_spoils_the_figures():
    document = build_bench(100, 101, failed=3, errors=["Connection reset"], foreign_requests=2)
    told = tell_bench(document)
    assert [reason.text for reason in told.reasons] == ["3 requests failed: Connection reset"]
    assert [note.partition(":")[0].partition(" are")[0] for note in told.notes] == [
        "the engine had 2 requests of others meanwhile", "fewer than three repeats tell nothing about noise, and",
    ]  # fmt: skip


def test_the_page_of_a_comparison_has_both_runs_beside_each_other(session):
    bench.run(session, BenchOptions())
    (compared, *_) = tell_bench(bench.run(session, BenchOptions(compare="1"))).sections
    assert compared.heading == f"Against bench-1 (commit {COMMIT[:12]})"
    assert compared.text.startswith("output tokens a second decides: same: ")
    assert compared.header[:3] == ("Figure", "bench-1", "This run")
    assert [cell.text for cell in compared.rows[0][:3]] == ["output tokens a second", "101", "101"]


@pytest.mark.parametrize(
    ("ended", "said", "code"),
    [
        (Ended(1, "Traceback\nValueError: no\nnanobind: leaked 4 instances!\n - x"), "failed in the engine's image", 1),
        (Ended(137, "", was_oom_killed=True), "it took more memory than it may", 137),
        (Ended(137, ""), "was killed, or its container removed", 137),
        (Ended(None, "", is_late=True), "it took longer than 900 s", 1),
        (Ended(124, ""), "it took longer than 900 s", 124),
    ],
)
def test_a_client_that_does_not_end_well_is_told(ended, said, code):
    error = build_failure(ended, 900)
    assert said in error.message
    assert error.returncode == code
    assert error.hint is not None
    assert "nanobind" not in error.stderr


def run_script(folder, client, limit_seconds):
    (folder / "vllm").write_text(f"#!/bin/sh\n{client}\n")
    (folder / "vllm").chmod(0o755)
    argv = ["/bin/sh", "-c", bench_client._SCRIPT, "bench", limit_seconds, "--seed", "7"]
    environment = {"PATH": f"{folder}:{os.environ['PATH']}"}
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize(("client", "limit_seconds", "status"), [("exec sleep 60", "0.1", 124), ("exit 3", "60", 3)])
def test_the_client_ends_by_itself_where_nobody_is_left_to_end_it(tmp_path, client, limit_seconds, status):
    done = run_script(tmp_path, client, limit_seconds)
    assert (done.returncode, RESULT_MARK in done.stdout) == (status, False)


def test_a_client_that_ends_in_time_is_asked_for_its_result(tmp_path):
    done = run_script(tmp_path, 'echo "$*"', "60")
    assert done.stdout.startswith("bench serve --seed 7\n")
    assert RESULT_MARK in done.stdout


def test_the_container_is_told_the_limit_that_is_kept_outside(session, monkeypatch):
    told = []

    def run_one_shot(connect, shot, *, tell, limit_seconds, clock):
        told.append((shot.command[:2], shot.command[4], limit_seconds))
        return Ended(1, "")

    monkeypatch.setattr(bench_client, "run_one_shot", run_one_shot)
    monkeypatch.setattr(bench_client.BenchClient, "_fetch_page", lambda self: None)
    client = bench_client.BenchClient(session, bench.read_target(session), {})
    for seconds in (30, 1200):
        with pytest.raises(CommandError):
            client.run(build_load("chat", "cpu", None), seed=1, said="", seconds=seconds)
    assert told == [(["/bin/sh", "-c"], "900", 900), (["/bin/sh", "-c"], "12000", 12000)]


def test_the_client_reads_what_the_engine_reads():
    mounts = [
        {"Type": "bind", "Source": "/m", "Destination": "/models/x", "RW": False},
        {"Type": "bind", "Source": "/c", "Destination": "/cache", "RW": True},
        {"Type": "bind", "Source": "/r", "Destination": "/opt/stack", "RW": False},
        {"Type": "bind", "Source": "/s", "Destination": "/run/secrets/api_key", "RW": True},
        {"Type": "bind", "Source": "/t", "Destination": "/run/secrets/other", "RW": False},
    ]
    assert {target: str(path) for target, path in find_mounts({"Mounts": mounts}).items()} == {
        "/models/x": "/m",
        "/run/secrets/api_key": "/s",
    }
    networks = {"mine_edge": {"Aliases": ["engine"]}, "mine_metrics": {"Aliases": ["engine.metrics"]}}
    assert find_network({"NetworkSettings": {"Networks": networks}}) == "mine_metrics"
    argv = ["/models/x", "--trust-remote-code", "--tokenizer-mode", "slow", "--seed", "1"]
    assert build_tokenizer_arguments(argv) == ("--tokenizer-mode", "slow", "--trust-remote-code")
