"""A demo must send all its kinds of traffic, tell what became of them, and leave nothing running, however it ends.

What it shows on the dashboards is seen on the real engine, in `first_up`.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from stack.traffic.demo_phases import PHASES
from tests.scenarios.engine import count_requests, misbehave
from tests.scenarios.harness import INTERRUPTED, Done, Stack, eventually, start
from tests.scenarios.projects import render_config

MINUTES = "0.2"
SEED = "7"


@pytest.fixture(scope="module")
def stack(make_stack: Callable[..., Stack], fake_engine: str) -> Stack:
    stack = make_stack("demo", render_config(fake_engine, "--step-seconds 0.02"))
    stack.run("up", "--no-smoke").demand()
    return stack


@pytest.fixture(scope="module")
def url(stack: Stack) -> str:
    return stack.url("engine")


@pytest.fixture(scope="module")
def done(stack: Stack) -> Done:
    return stack.run("demo", "--minutes", MINUTES, "--seed", SEED, "--save", "demo.jsonl", "--json").demand()


def test_every_kind_of_end_is_there_and_is_told_phase_by_phase(done: Done) -> None:
    document = done.json()
    assert (document["schema_version"], document["is_passed"], document["left_running"]) == (1, True, 0)
    assert [phase["name"] for phase in document["phases"]] == [phase.name for phase in PHASES]
    outcomes = document["now"]["outcomes"]
    assert outcomes["failed"] == 0
    assert all(outcomes[name] >= 2 for name in ("stop", "length", "hung up", "refused")), outcomes
    burst = next(phase for phase in document["phases"] if phase["name"] == "burst")
    assert burst["outcomes"]["length"] >= 24
    assert "demo: burst" in done.err


def test_the_demo_is_in_the_history_and_has_a_page(done: Done, stack: Stack) -> None:
    [run] = [run for run in stack.run("history", "--json").demand().json()["runs"] if run["kind"] == "demo"]
    assert run["passed"] is True
    stack.run("report", run["name"]).demand()
    page = (stack.folder / f"stack-{stack.name}-{run['name']}.html").read_text()
    assert "clients that leave in the middle of an answer" in page and "3 hung up" in page


def test_its_requests_can_be_replayed(done: Done, stack: Stack) -> None:
    saved = (stack.folder / "demo.jsonl").read_text().splitlines()
    assert len(saved) == done.json()["records"]["total"]
    kept = [line for line in saved if '"custom_id":"trouble/' in line]
    (stack.folder / "trouble.jsonl").write_text("\n".join(kept) + "\n")
    document = stack.run("replay", "trouble.jsonl", "--json").demand().json()
    assert document["counts"]["differs"] == document["counts"]["failed"] == 0
    assert document["statuses"]["404"] >= 3


def test_what_to_look_at_comes_first_and_the_table_last(stack: Stack) -> None:
    out = stack.run("demo", "--minutes", MINUTES).demand().out
    assert out.startswith("The demo takes 0:")
    assert "neither Grafana nor Prometheus runs here" in out
    at = [out.index(f"  {phase.name}: {phase.does}") for phase in PHASES]
    assert at == sorted(at) and at[-1] < out.index("PHASE ")
    assert out.endswith("nothing ended as it should not\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing_running(stack: Stack, url: str, number: signal.Signals) -> None:
    with start(stack, "demo", "--save", "half.jsonl") as running:
        running.wait_said("demo: chat")
        eventually(lambda: count_requests(url) > 0, "a request that runs", every_seconds=0.02)
        assert running.end(number) == INTERRUPTED
    eventually(lambda: count_requests(url) == 0, "an engine without requests", within_seconds=10)
    assert not (stack.folder / "half.jsonl").exists()
    assert list(stack.folder.glob(".half*")) == []
    assert stack.containers().keys() == {"engine"}


def test_an_engine_that_dies_is_told(stack: Stack) -> None:
    with start(stack, "demo", "--minutes", MINUTES) as running:
        running.wait_said("demo: chat")
        misbehave(stack, "die-under-load")
        assert running.wait_end() == 1
