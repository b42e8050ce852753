"""A bench must be compared with one of its like, and judged by no figure that something else spoiled."""

from __future__ import annotations

from typing import Any

import pytest

from stack.errors import ConfigError
from stack.history.store import open_history
from stack.operations.bench.history import (
    compare_benches,
    explain_no_baseline,
    find_baseline,
    find_obstacle,
    read_load,
    read_stored_bench,
)
from stack.operations.bench.last import find_last_bench
from tests.unit.operations.bench.bench_documents import COMMIT, STARTED, build_bench, build_record, build_start

LIKE: dict[str, Any] = {
    "preset": "chat",
    "is_sweep": False,
    "device": "cpu",
    "model": "demo",
    "revision": "sha256:257c3afa88880c43",
    "host": {"id": "1234abcd"},
}
SWEEP = {"steps": [], "knee": {"rate": 2.5, "is_found": True, "why": "it was too much"}}


@pytest.fixture
def history(tmp_path):
    return open_history(tmp_path / "history.sqlite")


def note(history, report):
    return history.note_run("bench", STARTED, None, True, report)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"preset": "soak"}, "its preset is soak, not chat"),
        ({"sweep": SWEEP}, "only one of them is a sweep (--sweep)"),
        ({"engine": {"device": "cuda"}}, "its device is cuda, not cpu"),
        ({"model": {"model": "other", "revision": "x"}}, "its model is other, not demo"),
        ({"model": {"model": "demo", "revision": "x"}}, "its model's revision is x, not sha256:257c3afa88880c43"),
        ({"host": {"id": "ffff"}}, "it ran on another host (ffff, this one is 1234abcd)"),
        ({"host": {}}, "it ran on another host (unknown, this one is 1234abcd)"),
        ({}, None),
    ],
)
def test_what_differs_is_not_compared(change, why):
    assert find_obstacle(build_bench(100, 101, 102, **change), LIKE) == why


def test_last_is_the_newest_sound_one_of_its_like(history):
    note(history, build_bench(1, 2, 3))
    wanted = note(history, build_bench(100, 101, 102))
    note(history, build_bench(100, 101, 102, failed=2))
    note(history, build_bench(100, 101, 102, preset="soak"))
    found = find_baseline(history, "last", LIKE)
    assert found is not None
    assert found.id == wanted
    assert find_baseline(history, "last", LIKE | {"host": {"id": "0"}}) is None
    assert find_baseline(None, "last", LIKE) is None


def test_what_keeps_the_newest_from_being_compared_is_told(history):
    assert explain_no_baseline(None, LIKE) == explain_no_baseline(history, LIKE) == "no bench is in the history yet"
    note(history, build_bench(100, 101, 102))
    number = note(history, build_bench(100, 101, 102, sweep=SWEEP))
    said = "only one of them is a sweep (--sweep)"
    assert explain_no_baseline(history, LIKE) == f"of bench-{number}, the newest: {said}"
    number = note(history, build_bench(100, 101, 102, failed=2))
    assert explain_no_baseline(history, LIKE) == f"of bench-{number}, the newest: 2 requests of bench-{number} failed"


def test_a_run_or_a_commit_is_found_by_name(history):
    number = note(history, build_bench(100, 101, 102))
    for asked in (str(number), f"bench-{number}", COMMIT[:7], COMMIT.upper()):
        found = find_baseline(history, asked, LIKE | {"preset": None})
        assert found is not None
        assert found.id == number


def test_a_commit_whose_first_digits_have_no_letter_is_found_where_no_run_has_that_number(history):
    number = note(history, build_bench(100, 101, 102, engine={"commit": "1234567" + "c" * 33, "device": "cpu"}))
    found = find_baseline(history, "1234567", LIKE)
    assert found is not None
    assert found.id == number


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("newest", "`newest` names no bench: that is `last`, `bench-12`, or seven digits of a commit or more"),
        ("bench-99", "the history has no bench bench-99"),
        ("abcdef0", "the history has no bench of commit abcdef0"),
        ("1", "bench-1 cannot be compared with this one: its preset is soak, not chat"),
    ],
)
def test_what_cannot_be_compared_with_is_refused_before_anything_is_measured(history, asked, said):
    note(history, build_bench(100, 101, 102, preset="soak"))
    with pytest.raises(ConfigError) as caught:
        find_baseline(history, asked, LIKE)
    assert said in caught.value.message


def test_the_verdict_is_that_of_the_speed():
    compared = compare_benches(build_record(4, build_bench(100, 101, 102)), build_bench(120, 121, 122))
    assert (compared["with"], compared["figure"], compared["verdict"]) == (
        "bench-4",
        "output_tokens_per_second",
        "faster",
    )
    assert compared["figures"]["ttft_seconds.p50"]["ratio"] == pytest.approx(0.8347, abs=0.001)
    assert compared["figures"]["output_tokens_per_second"]["before"] == 101
    assert "verdict" not in compared["figures"]["ttft_seconds.p50"]


def test_where_requests_arrive_at_a_rate_the_verdict_is_that_of_the_latency():
    load = build_bench(1)["load"] | {"rate": 2.0}
    old, new = (build_bench(*speeds, load=load) for speeds in ((100, 101, 102), (80, 81, 82)))
    compared = compare_benches(build_record(4, old), new)
    assert (compared["figure"], compared["verdict"]) == ("e2e_seconds.p50", "slower")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"failed": 3}, "no verdict: 3 requests of this run failed"),
        ({"foreign_requests": 5}, "no verdict: the engine had other requests during this run"),
        ({"load": {"prompts": 12}}, "no verdict: the loads differ (concurrency, dataset"),
    ],
)
def test_spoiled_figures_get_no_verdict(change, said):
    compared = compare_benches(build_record(4, build_bench(100, 101, 102)), build_bench(120, 121, 122, **change))
    assert compared["verdict"] == "no verdict"
    assert compared["said"].startswith(said)


def test_sweeps_are_compared_each_at_its_own_knee():
    load = build_bench(1)["load"]
    old = build_bench(100, 101, 102, sweep=SWEEP, load=load | {"rate": 2.0, "prompts": 60})
    new = build_bench(120, 121, 122, sweep=SWEEP, load=load | {"rate": 3.0, "prompts": 90})
    assert compare_benches(build_record(4, old), new)["verdict"] == "faster"


def test_the_load_of_a_run_is_taken_over():
    load = read_load(build_bench(100))
    assert load is not None
    assert load.prompts == 48
    assert read_load({}) is None


def test_the_run_metrics_have_speed_model_and_latencies():
    latencies, bench = read_stored_bench(build_bench(100, 101, 102, sweep=SWEEP))
    assert bench is not None
    assert (bench.preset, bench.model, bench.output_tokens_per_second) == ("chat sweep", "demo@257c3afa8888", 101)
    assert latencies["ttft", "p95"] == pytest.approx(1, abs=0.02)
    assert read_stored_bench({}) == ({}, None)


def test_the_last_bench_is_of_the_commit_that_runs_and_rather_a_sweep(make_session):
    session = make_session()
    assert find_last_bench(session) is None
    session.paths.history.parent.mkdir(parents=True)
    history = open_history(session.paths.history)
    history.record_boot(build_start())
    note(history, build_bench(300, 301, 302, engine={"commit": "d" * 40}, sweep=SWEEP))
    assert find_last_bench(session) is None
    note(history, build_bench(100, 101, 102, sweep=SWEEP))
    note(history, build_bench(200, 201, 202))
    found = find_last_bench(session)
    assert found is not None
    assert (found.run, found.at_knee, found.output_tokens_per_second) == ("bench-2", 2.5, 101)
    assert found.said == "bench-2 of 2026-11-22 09:00 UTC on this commit, chat: what came of it"
