from __future__ import annotations

from stack.telemetry.exposition import parse_exposition
from stack.telemetry.other_runs import RUNS_KEPT, StoredBench, StoredRun, render_other_runs


def test_a_replay_tells_how_it_ended_and_what_it_measured():
    run = StoredRun("replay", 1.7e9, False, "c", {("ttft", "p50"): 0.25, ("e2e", "p99"): 3.0})
    metrics = parse_exposition(render_other_runs([run]))
    (passed,) = metrics.select("stack_run_passed")
    assert (dict(passed.labels), passed.value) == ({"kind": "replay", "run": "2023-11-14T22:13:20Z", "commit": "c"}, 0)
    assert metrics.total("stack_run_latency_seconds", latency="ttft", percentile="p50") == 0.25
    assert metrics.total("stack_run_latency_seconds", latency="e2e", percentile="p99") == 3


def test_only_the_newest_runs_are_told_of():
    runs = [StoredRun("replay", 1.7e9 - day * 86400, True) for day in range(RUNS_KEPT + 3)]
    found = parse_exposition(render_other_runs(runs)).select("stack_run_passed")
    assert len(found) == RUNS_KEPT
    assert max(dict(sample.labels)["run"] for sample in found) == "2023-11-14T22:13:20Z"


def test_a_bench_tells_its_speed_beside_its_latencies():
    bench = StoredBench("chat sweep", "demo@257c3afa8888", 99.5)
    run = StoredRun("bench", 1.7e9, True, "c", {("ttft", "p95"): 0.25}, bench)
    metrics = parse_exposition(render_other_runs([run, StoredRun("replay", 1.6e9, True)]))
    (speed,) = metrics.select("stack_bench_output_tokens_per_second")
    assert speed.value == 99.5
    assert dict(speed.labels) == {
        "run": "2023-11-14T22:13:20Z", "commit": "c", "model": "demo@257c3afa8888", "preset": "chat sweep",
    }  # fmt: skip
    assert metrics.total("stack_run_latency_seconds", kind="bench", percentile="p95") == 0.25
