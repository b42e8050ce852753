"""An engine that misbehaves must be found out and told, and what it did must not outlive it; on the fake engine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from tests.scenarios.engine import misbehave, read_engine
from tests.scenarios.faults.ends import read_history
from tests.scenarios.harness import Done, Stack, eventually, run_docker, start
from tests.scenarios.projects import build_small_stack, render_small_config

LIMITS = """
[smoke]
timeout-seconds = 15
[services.engine]
memory = "300m"
"""


def read_health(stack: Stack) -> str:
    return read_engine(stack)["State"]["Health"]["Status"]


def failed_checks(done: Done) -> set[str]:
    assert "Traceback" not in done.err
    return {check["check"] for check in done.json()["checks"] if check["status"] == "fail"}


@pytest.fixture(scope="module")
def served(make_stack: Callable[..., Stack], fake_engine: str) -> Stack:
    stack = build_small_stack(make_stack, "misbehaves", render_small_config(fake_engine, after=LIMITS))
    stack.run("up").demand()
    return stack


@pytest.fixture
def well(served: Stack) -> Iterator[Stack]:
    """An engine that is well again after the test; that is part of the test."""
    yield served
    # While it hung, Docker's own probes may have failed three times; the next one mends that.
    eventually(lambda: read_health(served) == "healthy", "a probe of Docker that passes")
    served.run("up").demand()
    served.run("smoke").demand()


@pytest.mark.parametrize(
    ("mode", "checks"),
    [
        pytest.param(
            "garbage",
            {"canaries", "likelihood"},
            marks=pytest.mark.fault(
                "the engine answers garbage", "`stack smoke` ends with 1 and names what is wrong with the answers"
            ),
        ),
        pytest.param(
            "unavailable",
            {"model-list"},
            marks=pytest.mark.fault(
                "the engine answers 503", "`stack smoke` ends with 1 at the first check and skips what needs an answer"
            ),
        ),
        pytest.param(
            "hang",
            {"model-list"},
            marks=pytest.mark.fault(
                "the engine hangs after its port opened",
                "`stack smoke` gives each check its time and ends with 1; it never waits for ever",
            ),
        ),
    ],
)
def test_a_served_model_that_goes_wrong_fails_smoke_and_is_tested_anew(
    well: Stack, mode: str, checks: set[str]
) -> None:
    misbehave(well, mode)
    done = well.run("smoke", "--json").demand(1)
    assert failed_checks(done) >= checks
    if mode == "hang":
        [said] = [check["message"] for check in done.json()["checks"] if check["check"] == "model-list"]
        assert said.startswith("no result within"), said
    misbehave(well)


@pytest.mark.fault(
    "the engine answers 503 from its start",
    "`stack up` waits `engine.ready-timeout-seconds`, then exit 5 with the phase and the last answer",
)
def test_an_engine_that_opens_its_port_and_never_serves_is_given_up_after_the_time_set(
    make_stack: Callable[..., Stack], fake_engine: str
) -> None:
    config = render_small_config(fake_engine, "--misbehave unavailable", "ready-timeout-seconds = 10")
    stack = build_small_stack(make_stack, "never", config)
    done = stack.run("up", "--no-smoke").demand(5)
    assert "is not ready after" in done.err
    assert "last probe: HTTP 503 on /health" in done.err
    assert "Traceback" not in done.err
    stack.write_config(render_small_config(fake_engine))
    stack.run("up", "--no-smoke").demand()


@pytest.mark.parametrize(
    "mode",
    [
        pytest.param(
            "die-under-load",
            marks=pytest.mark.fault(
                "the engine dies under load",
                "Docker starts it again; `stack smoke` tells the restart, `stack up` follows the new start",
            ),
        ),
        pytest.param(
            "eat-memory",
            marks=pytest.mark.fault(
                "the engine is killed for its memory",
                "`services.engine.memory` bounds it, the host stays usable; Docker starts it again, and smoke tells it",
            ),
        ),
    ],
)
def test_an_engine_that_dies_comes_back_and_the_restart_is_told_until_up_looked_at_it(well: Stack, mode: str) -> None:
    before = well.containers()["engine"]
    misbehave(well, mode)
    assert failed_checks(well.run("smoke", "--json").demand(1))

    def is_back() -> bool:
        now = well.containers()["engine"]
        return now["RestartCount"] > before["RestartCount"] and now["State"]["Health"]["Status"] == "healthy"

    eventually(is_back, "an engine that serves again")
    assert well.containers()["engine"]["Id"] == before["Id"]
    done = well.run("smoke", "--json").demand(1)
    assert failed_checks(done) == {"services"}
    assert "was restarted" in done.out
    if mode == "eat-memory":
        events = map(json.loads, well.run("events", "--since", "5m", "--json").demand().out.splitlines())
        assert ("engine", "out-of-memory") in [(event["service"], event["kind"]) for event in events]


@pytest.mark.fault(
    "the engine's container is removed under `stack up`",
    "exit 5 at once; the boot is on record as failed",
)
def test_an_engine_that_is_taken_away_under_an_up_is_told_at_once(
    make_stack: Callable[..., Stack], fake_engine: str
) -> None:
    stack = build_small_stack(make_stack, "removed", render_small_config(fake_engine, "--boot-seconds 300"))
    with start(stack, "up", "--no-smoke") as up:
        up.wait_said("\nboot: ")
        run_docker("rm", "--force", read_engine(stack)["Id"])
        assert up.wait_end() == 5
        assert "Traceback" not in up.said
    assert read_history(stack, "SELECT outcome FROM boots") == ["failed"]
    assert stack.status()["services"] == []
