"""A bench must measure the running engine beside it, leave nothing behind however it ends, and say what it cannot tell.

The client in the fake engine's image is a stub; the real one is run in `scenarios/offline`.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.scenarios.engine import misbehave
from tests.scenarios.harness import Running, Stack, eventually, run_docker, start
from tests.scenarios.projects import render_config

QUICK = ("bench", "--seconds", "1", "--repeats", "3")


@pytest.fixture(scope="module")
def stack(make_stack: Callable[..., Stack], fake_engine: str) -> Stack:
    stack = make_stack("bench", render_config(fake_engine, "--step-seconds 0.005", "api-key = true"))
    stack.run("up", "--no-smoke").demand()
    return stack


@pytest.fixture(scope="module")
def measured(stack: Stack) -> dict[str, Any]:
    document: dict[str, Any] = stack.run(*QUICK, "--save", "bench.json", "--json").demand().json()
    return document


def clients(stack: Stack) -> list[dict[str, Any]]:
    ids = run_docker(
        "ps", "-aq", "--filter", f"label=dev.stack.project={stack.name}", "--filter", "label=dev.stack.one-shot"
    )
    return json.loads(run_docker("inspect", *ids.split())) if ids.split() else []


def test_repeats_are_measured_and_kept_by_commit_and_revision(stack: Stack, measured: dict[str, Any]) -> None:
    assert (measured["is_passed"], measured["failed"], len(measured["repeats"])) == (True, 0, 3)
    assert measured["completed"] == 3 * measured["load"]["prompts"]
    assert len({repeat["seed"] for repeat in measured["repeats"]}) == 3
    assert measured["figures"]["ttft_seconds.p95"]["median"] > 0
    assert json.loads((stack.folder / "bench.json").read_text()) == measured
    kept = stack.run("history", f"bench-{measured['run']}", "--json").demand().json()
    assert kept["boot"]["commit"] == measured["engine"]["commit"]
    assert kept["report"]["model"]["revision"] == measured["model"]["revision"]
    assert "output tok/s" in stack.run("history").demand().out
    page = stack.run("report", f"bench-{measured['run']}", "--output", "-").demand().out
    assert "Output tokens a second" in page
    assert "stack_bench_output_tokens_per_second{" in (stack.state / "metrics" / "stack.prom").read_text()
    assert not clients(stack)


def test_it_is_compared_with_the_last_one_of_its_like(stack: Stack, measured: dict[str, Any]) -> None:
    document = stack.run("bench", "--compare", "last", "--json").json()
    compared = document["compared"]
    assert (compared["with"], document["load"]) == (f"bench-{measured['run']}", measured["load"])
    assert compared["verdict"] in ("faster", "slower", "same", "no verdict")
    assert compared["figures"]["output_tokens_per_second"]["level"] == 0.9
    done = stack.run("bench", "--preset", "long-context", "--compare", f"bench-{measured['run']}").demand(2)
    assert "its preset is chat, not long-context" in done.err


def wait_for_client(running: Running, stack: Stack) -> dict[str, Any]:
    running.wait(lambda: any(one["State"]["Running"] for one in clients(stack)), "the client's container")
    return clients(stack)[0]


def test_the_client_is_confined_and_gone_after_an_interrupt(stack: Stack) -> None:
    with start(stack, "bench", "--seconds", "600") as running:
        client = wait_for_client(running, stack)
        assert running.end(signal.SIGTERM) == 130
    assert not clients(stack)
    host, engine = client["HostConfig"], stack.containers()["engine"]
    assert client["Image"] == engine["Image"]
    assert (host["ReadonlyRootfs"], host["CapDrop"], host["Privileged"]) == (True, ["ALL"], False)
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert client["Config"]["User"] == engine["Config"]["User"]
    assert not any(mount["RW"] for mount in client["Mounts"])
    assert list(client["NetworkSettings"]["Networks"]) == [f"{stack.name}_metrics"]
    key = (stack.state / "secrets" / "api_key").read_text().strip()
    assert key not in json.dumps(client)


@pytest.mark.fault(
    "`stack bench` is killed",
    "the next `stack bench` removes the container that it left, and so does `stack down`",
)
def test_what_a_killed_run_left_is_removed_by_the_next_one(stack: Stack) -> None:
    with start(stack, "bench", "--seconds", "600") as running:
        left = wait_for_client(running, stack)["Name"].removeprefix("/")
        running.end(signal.SIGKILL)
    assert [one["Name"] for one in clients(stack)] == [f"/{left}"]
    done = stack.run("bench", "--seconds", "1", "--repeats", "1").demand()
    assert f"removed the container {left}" in done.err
    assert not clients(stack)


def test_a_client_that_is_taken_away_is_told(stack: Stack) -> None:
    with start(stack, "bench", "--seconds", "600") as running:
        client = wait_for_client(running, stack)
        run_docker("rm", "--force", client["Id"])
        running.wait(lambda: "or its container removed, while it ran" in running.said, "the error")
        assert running.wait_end() == 4


@pytest.mark.fault(
    "the engine refuses every request of a bench",
    "`stack bench` ends with 6 and gives the engine's reason",
)
def test_an_engine_that_refuses_everything_is_told(stack: Stack) -> None:
    with start(stack, "bench", "--seconds", "600") as running:
        wait_for_client(running, stack)
        misbehave(stack, "unavailable")
        running.wait(lambda: "Service Unavailable" in running.said, "the engine's reason")
        code = running.wait_end()
    misbehave(stack)
    assert code == 6
    assert not clients(stack)


def test_down_removes_what_a_killed_run_left(stack: Stack) -> None:
    with start(stack, "bench", "--seconds", "600") as running:
        wait_for_client(running, stack)
        running.end(signal.SIGKILL)
    stack.run("down").demand()
    assert not clients(stack)
    eventually(lambda: not run_docker("network", "ls", "-q", "--filter", f"name={stack.name}").split(), "no network")
    assert "does not run" in stack.run("bench").demand(5).err
