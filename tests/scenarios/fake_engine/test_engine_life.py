"""What happens to the stack when the engine does what a healthy one does not; on the fake engine."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from xml.etree import ElementTree

import pytest

from tests.scenarios.engine import answers
from tests.scenarios.harness import Stack, eventually, run_docker, services_of
from tests.scenarios.projects import render_config


@pytest.fixture(scope="module")
def one(make_stack: Callable[..., Stack], fake_engine: str) -> Stack:
    stack = make_stack("one", render_config(fake_engine))
    stack.run("up", "--no-smoke").demand()
    return stack


def test_two_projects_on_one_machine_share_nothing(
    one: Stack, make_stack: Callable[..., Stack], fake_engine: str
) -> None:
    two = make_stack("two", render_config(fake_engine))
    two.run("up", "--no-smoke").demand()
    assert one.url("engine") != two.url("engine")
    first, second = one.containers()["engine"], two.containers()["engine"]
    assert first["Id"] != second["Id"]
    assert not set(first["NetworkSettings"]["Networks"]) & set(second["NetworkSettings"]["Networks"])
    two.run("down").demand()
    assert services_of(one.status())["engine"]["state"] == "running"
    assert answers(one)


def test_the_history_has_the_boot_with_its_lock_and_its_host(one: Stack) -> None:
    # Nothing is to be booted, so the last boot is what runs.
    one.run("up", "--no-smoke").demand()
    (listed,) = one.run("history", "--json").demand().json()["runs"]
    assert (listed["name"], listed["boot"]["outcome"], listed["smoke"]) == ("boot-1", "ready", None)
    assert {"cpu", "docker", "kernel", "os"} <= set(listed["boot"]["host"])
    assert one.run("history").demand().out.splitlines()[1].startswith("boot-1 ")
    told = one.run("history", "last", "--json").demand().json()
    assert told["lock"] == (one.folder / "stack.lock").read_text()
    assert told["boot"]["rests_on"]


def test_the_report_of_a_boot_shows_its_commit_and_phases(one: Stack) -> None:
    assert one.run("report", "last").demand().out == f"stack-{one.name}-boot-1.html\n"
    page = (one.folder / f"stack-{one.name}-boot-1.html").read_text()
    commit = one.run("history", "last", "--json").demand().json()["boot"]["commit"]
    assert (commit or "unknown") in page
    assert "Phases of boot-1" in page


def test_a_killed_engine_comes_back_by_itself_and_up_finds_it_well(one: Stack) -> None:
    before = one.containers()["engine"]["State"]["StartedAt"]
    run_docker("kill", "--signal", "KILL", one.containers()["engine"]["Id"])
    # `docker kill` counts as the user's wish; the process dying by itself is what must be survived.
    one.run("up", "--no-smoke").demand()
    after = one.containers()["engine"]
    assert after["State"]["Running"] and after["State"]["StartedAt"] != before


@pytest.mark.fault(
    "the engine process dies by itself",
    "Docker starts it again; `stack status` tells when and why it ended",
)
def test_an_engine_that_dies_by_itself_is_started_again_by_docker(one: Stack) -> None:
    before = one.containers()["engine"]
    run_docker("exec", before["Id"], "sh", "-c", "kill -9 $(pidof python3)")

    def is_back() -> bool:
        now = one.containers()["engine"]
        return now["RestartCount"] > before["RestartCount"] and now["State"]["Running"]

    eventually(is_back, "a restarted engine")


@pytest.mark.fault(
    "the engine crashes at its start",
    "exit 5 as soon as it ended, with the first cause in its log; the crash loop ends by itself",
)
def test_a_crash_at_start_is_told_with_its_cause_and_ends_by_itself(
    make_stack: Callable[..., Stack], fake_engine: str
) -> None:
    stack = make_stack("crash", render_config(fake_engine, "--crash-log /opt/fake/fake_engine/engine.py"))
    began = time.monotonic()
    done = stack.run("up", "--no-smoke").demand(5)
    assert time.monotonic() - began < 60
    assert "`engine` ended after" in done.err
    assert "hint:" in done.err

    def has_given_up() -> bool:
        state = stack.containers()["engine"]
        return not state["State"]["Running"] and not state["State"]["Restarting"] and state["RestartCount"] <= 3

    eventually(has_given_up, "the end of the crash loop")


@pytest.mark.fault(
    "the engine hangs before its port opens",
    "exit 5 after `engine.ready-timeout-seconds`, with the phase that it hangs in",
)
def test_an_engine_that_never_opens_its_port_is_given_up_after_the_time_set(
    make_stack: Callable[..., Stack], fake_engine: str
) -> None:
    stack = make_stack("hang", render_config(fake_engine, "--hang-at-boot", "ready-timeout-seconds = 10"))
    done = stack.run("up", "--no-smoke").demand(5)
    assert "is not ready after 10 s" in done.err


@pytest.mark.fault(
    "the engine serves and answers wrongly",
    "`stack up` ends with 1: the smoke test names the checks that failed",
)
def test_smoke_fails_up_when_the_engine_answers_wrongly(make_stack: Callable[..., Stack], fake_engine: str) -> None:
    stack = make_stack("wrong", render_config(fake_engine, "--misbehave wrong-answers"))
    done = stack.run("up").demand(1)
    assert "smoke     FAILED" in done.out
    assert "canaries" in done.out
    assert "smoke failed: canaries" in stack.run("history").demand().out
    stack.run("report", "last", "--junit", "checks.xml").demand()
    failed = ElementTree.parse(stack.folder / "checks.xml").iterfind("testcase[failure]")
    assert "canaries" in [case.get("name") for case in failed]


def test_an_api_key_is_demanded_and_shows_nowhere(make_stack: Callable[..., Stack], fake_engine: str) -> None:
    stack = make_stack("key", render_config(fake_engine, more="api-key = true"))
    done = stack.run("up", "--no-smoke").demand()
    key = (stack.state / "secrets" / "api_key").read_text().strip()
    assert key not in done.out + done.err
    assert key not in json.dumps(stack.containers())
    assert key not in stack.run("report", "last", "--output", "-").demand().out
    assert key not in stack.run("history", "last", "--json").demand().out
    request = urllib.request.Request(stack.url("engine") + "/v1/models")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=30)
    with refused.value:
        assert refused.value.code == 401
    request.add_header("Authorization", f"Bearer {key}")
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200
    assert key in stack.run("status", "--show-secrets").demand().out
