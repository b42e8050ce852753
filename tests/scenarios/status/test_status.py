"""`status` must tell what is, whoever did it: the tool, Docker, a crash, or somebody with a terminal."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from tests.scenarios.engine import answers, misbehave
from tests.scenarios.harness import PATIENCE_SECONDS, Stack, eventually, run_docker, services_of
from tests.scenarios.projects import render_config

render_watched = partial(render_config, watchers=["prometheus"])


@pytest.fixture(scope="module")
def stack(make_stack: Callable[..., Stack], fake_engine: str) -> Stack:
    stack = make_stack("status", render_watched(fake_engine))
    stack.run("up", "--no-smoke").demand()
    return stack


@pytest.fixture
def foreign(stack: Stack, fake_engine: str) -> Iterator[str]:
    name = f"{stack.name}-foreign"
    label = f"com.docker.compose.project={stack.name}"
    service = "com.docker.compose.service=engine"
    run_docker(
        "run", "--detach", "--name", name, "--label", label, "--label", service, "--entrypoint", "sleep",
        fake_engine, "600",
    )  # fmt: skip
    yield name
    run_docker("rm", "--force", name)


def wait_state(stack: Stack, state: str) -> dict[str, Any]:
    return eventually(
        lambda: document if (document := stack.status())["state"] == state else None, f"the state {state}"
    )


def find_reason(document: dict[str, Any], service: str | None) -> str:
    return next(item["message"] for item in document["reasons"] if item["service"] == service)


def test_a_stack_that_serves_is_up_and_differs_in_nothing(stack: Stack) -> None:
    document = stack.status()
    assert (document["state"], document["reasons"], document["drift"], document["foreign"]) == ("up", [], [], [])
    assert document["engine"]["image_id"] == stack.containers()["engine"]["Image"]
    stack.run("status", "--check").demand()
    assert stack.run("status").demand().out.startswith(f"project `{stack.name}`: up\n")


def test_the_report_of_its_boot_is_served_where_annotations_link_to(stack: Stack) -> None:
    with urllib.request.urlopen(f"{stack.url('prometheus')}/user/boot-1.html", timeout=30) as answer:
        assert answer.headers["Content-Type"].startswith("text/html")
        assert "boot-1" in answer.read().decode()
    assert not (stack.state / "metrics" / "stack-boot.prom").exists(), "the boot is not under way any more"


@pytest.mark.fault(
    "the engine hangs while it serves",
    "`stack status` is degraded and says that it runs and does not answer",
)
def test_a_wedged_engine_is_degraded_until_it_answers_again(stack: Stack) -> None:
    misbehave(stack, "hang")
    try:
        document = wait_state(stack, "degraded")
        assert "runs and does not answer: /health gave no answer within" in find_reason(document, "engine")
        assert services_of(document)["engine"]["state"] == "running"
        stack.run("status", "--check").demand(1)
        stack.run("status").demand(0)
    finally:
        misbehave(stack)
    # Docker's own health check saw it too, and needs one good look.
    wait_state(stack, "up")


@pytest.mark.fault(
    "Prometheus stops while the engine is fine",
    "the engine serves on; the state is degraded, and `stack up` starts Prometheus again",
)
def test_prometheus_stopped_leaves_the_engine_serving_and_up_mends_it(stack: Stack) -> None:
    run_docker("stop", stack.containers()["prometheus"]["Id"])
    document = wait_state(stack, "degraded")
    assert find_reason(document, "prometheus") == "ended with exit status 0"
    assert document["drift"] == []
    assert answers(stack)
    assert "prometheus: ended with exit status 0; `stack up`" in stack.run("status").demand().out
    stack.run("up", "--no-smoke").demand()
    assert stack.status()["state"] == "up"


def test_a_container_that_somebody_removed_is_missing(stack: Stack) -> None:
    run_docker("rm", "--force", stack.containers()["prometheus"]["Id"])
    document = wait_state(stack, "degraded")
    assert document["reasons"] == [{"service": "prometheus", "message": "its container is gone", "hint": "stack up"}]
    stack.run("up", "--no-smoke").demand()


def test_a_foreign_container_is_never_taken_for_ours(stack: Stack, foreign: str) -> None:
    document = wait_state(stack, "degraded")
    assert [item["name"] for item in document["foreign"]] == [foreign]
    assert document["foreign"][0]["why"] == "this tool did not make it"
    assert services_of(document)["engine"]["url"] is not None


def test_an_edited_configuration_is_drift_until_up_has_run(stack: Stack, fake_engine: str) -> None:
    changed = '[engine.args]\nmax-model-len = 1024\n[engine.env]\nSOME_SETTING = "hidden-value"\n'
    stack.write_config(render_watched(fake_engine, after=f'[services.prometheus]\nretention-time = "3d"\n{changed}'))
    done = stack.run("status", "--json").demand()
    assert "hidden-value" not in done.out
    drift = {(item["service"], item["what"]): (item["wanted"], item["found"]) for item in done.json()["drift"]}
    assert drift == {
        ("engine", "arg max-model-len"): ("1024", "auto"),
        ("engine", "environment SOME_SETTING"): ("set", None),
        ("prometheus", "arg storage.tsdb.retention.time"): ("3d", "15d"),
    }
    assert done.json()["state"] == "up"
    stack.run("up", "--no-smoke").demand()
    assert wait_state(stack, "up")["drift"] == []
    stack.write_config(render_config(fake_engine))
    told = {(item["service"], item["what"]) for item in stack.status()["drift"]}
    assert ("prometheus", "service") in told
    stack.write_config(render_watched(fake_engine))
    stack.run("up", "--no-smoke").demand()
    assert stack.status()["drift"] == []


def test_events_follow_a_crash_and_end_when_interrupted(stack: Stack) -> None:
    argv = [sys.executable, "-m", "stack", "events", "--follow", "--since", "1s", "--json"]
    told: list[dict[str, Any]] = []
    engine = stack.containers()["engine"]["Id"]
    with subprocess.Popen(
        argv, cwd=stack.folder, env=stack.environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        reader = threading.Thread(target=lambda: told.extend(json.loads(line) for line in process.stdout or ()))
        reader.start()

        def has_told_of_a_pause() -> bool:
            # The command takes a moment before it listens: something harmless, until it has been heard.
            run_docker("pause", stack.containers()["prometheus"]["Id"])
            run_docker("unpause", stack.containers()["prometheus"]["Id"])
            return "resumed" in [item["kind"] for item in told]

        try:
            eventually(has_told_of_a_pause, "an event that is followed")
            run_docker("exec", engine, "sh", "-c", "kill -9 $(pidof python3)")
            eventually(lambda: "restarted" in [item["kind"] for item in told], "a restart that is told")
        finally:
            process.send_signal(signal.SIGINT)
            reader.join(PATIENCE_SECONDS)
        code = process.wait(PATIENCE_SECONDS)
    assert code == 130
    ended = next(item for item in told if item["kind"] == "ended")
    assert (ended["service"], ended["exit_code"]) == ("engine", 137)
    assert "stack explain" in ended["hint"]
    document = stack.status()
    assert "was restarted once, the last time" in find_reason(document, "engine")
    past = stack.run("events", "--since", "10m").demand().out
    assert "engine         ended with exit status 137 (SIGKILL)" in past
    assert "engine         was started again" in past


@pytest.mark.fault(
    "Prometheus cannot live",
    "`stack up` ends well with a warning; the engine serves, and the state is degraded",
)
def test_prometheus_that_cannot_live_does_not_take_the_engine_along(stack: Stack, fake_engine: str) -> None:
    stack.write_config(render_watched(fake_engine, after='[services.prometheus]\nmemory = "8m"'))
    done = stack.run("up", "--no-smoke").demand()
    assert "warning: the stack is degraded: " in done.err
    assert "prometheus" in done.err.rpartition("the stack is degraded")[2]
    document = stack.status()
    assert document["state"] == "degraded"
    assert services_of(document)["engine"]["state"] == "running"
    assert answers(stack)
    kinds = [
        (item["service"], item["kind"])
        for item in map(json.loads, stack.run("events", "--since", "10m", "--json").demand().out.splitlines())
    ]
    assert ("prometheus", "out-of-memory") in kinds or ("prometheus", "ended") in kinds
    stack.write_config(render_watched(fake_engine))
    stack.run("up", "--no-smoke").demand()


def test_what_is_down_is_down_and_foreign_alone_is_foreign(stack: Stack, request: pytest.FixtureRequest) -> None:
    stack.run("down").demand()
    document = stack.status()
    assert (document["state"], document["engine"], document["services"], document["drift"]) == ("down", None, [], [])
    stack.run("status", "--check").demand(1)
    name = request.getfixturevalue("foreign")
    document = stack.status()
    assert (document["state"], document["services"]) == ("foreign", [])
    assert f"container `{name}` bears this project's name" in stack.run("status").demand().out
