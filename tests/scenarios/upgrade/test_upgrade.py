"""An engine that is tried must be kept only where it does what the old one did; else the old one must answer again."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.fixtures.image_registry import Registry
from tests.scenarios.engine import answers
from tests.scenarios.harness import INTERRUPTED, Stack, run_docker, start
from tests.scenarios.projects import render_config

LABEL = "org.opencontainers.image.revision"
OLD, GOOD, WRONG, OTHER, DEAD = (f"{digit * 8}{'0123456789abcdef' * 2}" for digit in "abcde")
ENGINE, PAGE = "/opt/fake/fake_engine/engine.py", "/opt/fake/fake_engine/vllm-0.31.0.txt"
# What each commit does otherwise than the fake engine does by itself.
CHANGES = {
    OLD: "",
    GOOD: f"RUN sed -i '$ a # TYPE vllm:new gauge\\nvllm:new 1' {PAGE}",
    WRONG: 'ENV FAKE_ENGINE_ARGS="--misbehave wrong-answers"',
    OTHER: f"RUN sed -i 's/context\\[-8:\\]/context[-7:]/' {ENGINE} && sed -i '/vllm:num_preemptions_total/d' {PAGE}",
    DEAD: f'ENV FAKE_ENGINE_ARGS="--crash-log {ENGINE}"',
}


@pytest.fixture(scope="module")
def digests(pushed: Registry, build_fake_engine: Callable[[str], str]) -> dict[str, str]:
    """An engine of each commit, with what it does otherwise."""
    base = build_fake_engine(OLD)
    return {
        commit: pushed.push(base, f"team/engine:{commit}", commit=commit, change=change)
        for commit, change in CHANGES.items()
    }


@pytest.fixture(scope="module")
def one(pushed: Registry, digests: dict[str, str], make_stack: Callable[..., Stack]) -> Stack:
    """A stack that serves the old engine, as `stack pin` and `stack up` made it."""
    # In another number format than that of the demo model's known likelihoods, which the fake engine has not.
    stack = make_stack("upgrade", render_config(None, after='[engine.args]\ndtype = "float32"'))
    with (stack.folder / "stack.toml").open("a") as config:
        config.write(f'\n[images]\nretries = 0\n[images.sources]\nown = "{pushed.host}/team/engine:{{commit}}"\n')
    stack.run("pin", OLD, "--accept", "claimed").demand()
    stack.run("up").demand()
    return stack


def upgrade(stack: Stack, commit: str, *more: str, code: int = 0) -> dict[str, Any]:
    return stack.run("upgrade", commit, "--accept", "claimed", "--yes", "--json", *more).demand(code).json()


def read_lock(stack: Stack) -> str:
    return (stack.folder / "stack.lock").read_text()


def read_commit(stack: Stack) -> str:
    return run_docker(
        "inspect", "--format", f'{{{{index .Config.Labels "{LABEL}"}}}}', stack.containers()["engine"]["Id"]
    ).strip()


def demand_old(stack: Stack, lock: str) -> None:
    """The old engine answers, is what stack.lock has, and nothing is left to do."""
    assert read_commit(stack) == OLD and read_lock(stack) == lock
    assert answers(stack)
    assert not (stack.state / "upgrade").exists()


@pytest.mark.fault(
    "a new engine answers wrongly",
    "`stack upgrade PIN` brings the old one back by itself, and ends with 1",
)
def test_an_engine_that_fails_smoke_goes_and_the_old_one_answers_again(one: Stack) -> None:
    lock = read_lock(one)
    done = one.run("upgrade", WRONG, "--accept", "claimed", "--yes").demand(1)
    first = done.out.splitlines()[0]
    assert first.startswith(
        "the upgrade to vLLM 0.31.0 (commit cccccccc0123) failed, and vLLM 0.31.0 (commit aaaaaaaa0123)"
    )
    assert "is back: smoke fails on it (" in first
    steps = re.findall(r"^step \d of 6: (\w+)", done.err, re.MULTILINE)
    assert steps == ["find", "have", "measure", "stop", "test", "bring"]
    assert "the service will be away for about" in done.err
    demand_old(one, lock)


@pytest.mark.fault(
    "a new engine answers otherwise, or lacks a metric that a dashboard shows",
    "`stack upgrade PIN` names both, brings the old engine back by itself, and ends with 1",
)
def test_an_engine_that_answers_otherwise_or_lacks_a_metric_goes(one: Stack) -> None:
    lock = read_lock(one)
    found = upgrade(one, OTHER, code=1)
    assert found["outcome"] == "back" and found["smoke"]["failed"] == ["dashboards"]
    assert found["answers"]["counts"]["differs"] > 0 and found["answers"]["counts"]["equal"] > 0
    assert any("records are answered otherwise" in said for said in found["against"])
    gone = [item for item in found["metrics"] if item["change"] == "gone"]
    assert [item["name"] for item in gone] == ["vllm:num_preemptions"]
    assert "dashboard overview: Preemptions in view" in gone[0]["users"]
    assert any("`vllm:num_preemptions` is gone" in said for said in found["against"])
    demand_old(one, lock)


@pytest.mark.fault(
    "a new engine does not boot",
    "`stack upgrade PIN` says why, brings the old one back by itself, and ends with 1",
)
def test_an_engine_that_does_not_boot_goes_whatever_was_said(one: Stack) -> None:
    lock = read_lock(one)
    done = one.run("upgrade", DEAD, "--accept", "claimed", "--yes", "--keep").demand(1)
    assert "is back: it does not come up: `engine` ended after" in done.out.splitlines()[0]
    demand_old(one, lock)


@pytest.mark.fault(
    "`stack upgrade PIN` is killed while the new engine boots",
    "`stack.lock` is as it was; `stack status` says so, and `stack up` brings the old engine back",
)
def test_a_killed_upgrade_leaves_the_lock_and_up_goes_by_it(one: Stack) -> None:
    lock = read_lock(one)
    moments = [("step 2", signal.SIGKILL, OLD), ("step 3", signal.SIGINT, OLD)]
    moments.append(("boot: the container is started", signal.SIGKILL, GOOD))
    for moment, by, runs in moments:
        with start(one, "upgrade", GOOD, "--accept", "claimed", "--yes") as running:
            running.wait_said(moment)
            code = running.end(by)
        assert (read_lock(one), read_commit(one)) == (lock, runs), moment
        assert code == (INTERRUPTED if by == signal.SIGINT else -by), running.said
    told = f"`stack upgrade {GOOD}` was interrupted; stack.lock is as it was before"
    status = one.run("status").demand()
    assert told in status.err
    assert told in one.run("up").demand().err
    demand_old(one, lock)


def test_an_engine_that_does_as_the_old_one_did_is_kept_and_can_be_left_again(one: Stack) -> None:
    found = upgrade(one, GOOD)
    assert (found["outcome"], found["against"], found["passed"]) == ("kept", [], True)
    assert found["answers"]["counts"]["equal"] == sum(found["answers"]["counts"].values())
    assert [(item["name"], item["change"]) for item in found["metrics"]] == [("vllm:new", "appeared")]
    assert all(item["is_fine"] for item in found["likelihoods"]) and len(found["likelihoods"]) == 3
    assert found["away_seconds"] > 0 and len(found["old"]["tokens_per_second"]) == 5
    assert read_commit(one) == GOOD and f'commit = "{GOOD}"' in read_lock(one)
    assert "nothing to do" in one.run("up").demand().err
    runs = one.run("history", "--json").demand().out
    assert "upgrade" in runs
    listed = one.run("rollback", "--list", "--json").demand().json()["locks"]
    assert [(item["number"], item["commit"], item["engine"]) for item in listed] == [(1, OLD, "here")]


def test_a_pin_that_the_configuration_would_pass_over_is_refused_before_anything(one: Stack) -> None:
    before = one.containers()["engine"]["State"]["StartedAt"]
    one.environ["STACK_ENGINE_COMMIT"] = GOOD
    try:
        refused = one.run("upgrade", OLD, "--accept", "claimed", "--yes").demand(2)
    finally:
        del one.environ["STACK_ENGINE_COMMIT"]
    assert f"engine.commit: asks for {GOOD}" in refused.err and "step 2" not in refused.err
    assert "add --yes" in one.run("upgrade", OLD).demand(2).err
    one.environ["STACK_ENGINE_ARGS_MAX_MODEL_LEN"] = "1024"
    try:
        refused = one.run("upgrade", OLD, "--accept", "claimed", "--yes").demand(2)
    finally:
        del one.environ["STACK_ENGINE_ARGS_MAX_MODEL_LEN"]
    assert "what runs is not what stack.toml and stack.lock come to" in refused.err and "step 2" not in refused.err
    assert not (one.state / "upgrade").exists()
    assert one.containers()["engine"]["State"]["StartedAt"] == before


@pytest.mark.fault(
    "what was pinned does not boot, and no registry answers",
    "`stack rollback` returns to the last lock that passed smoke, with what is on this machine",
)
def test_a_rollback_leads_out_of_an_engine_that_does_not_boot_without_a_registry(one: Stack, pushed: Registry) -> None:
    lock = read_lock(one)
    one.run("pin", DEAD, "--accept", "claimed").demand()
    one.run("up").demand(5)
    pushed.stop()
    done = one.run("rollback").demand()
    assert "back in" in done.out and f"commit: {DEAD} -> {GOOD}" in done.out and "smoke passes" in done.out
    assert read_commit(one) == GOOD and read_lock(one) == lock
    assert "nothing to do" in one.run("up").demand().err
    back = one.run("rollback", "--to", OLD[:7], "--json").demand().json()
    assert (back["commit"], back["passed"]) == (OLD, True)
    assert read_commit(one) == OLD and "nothing to do" in one.run("up").demand().err


@pytest.mark.fault(
    "the image to go back to is gone from this machine and its archive",
    "`stack rollback` names it before anything is stopped, and ends with 9",
)
def test_a_rollback_whose_image_is_gone_stops_nothing(one: Stack, pushed: Registry, digests: dict[str, str]) -> None:
    before, lock = one.containers()["engine"]["State"]["StartedAt"], read_lock(one)
    run_docker("rmi", "--force", f"{pushed.host}/team/engine@{digests[GOOD]}")
    refused = one.run("rollback").demand(9)
    assert "nothing was stopped" in refused.err and digests[GOOD] in refused.err
    assert one.containers()["engine"]["State"]["StartedAt"] == before and read_lock(one) == lock
    listed = one.run("rollback", "--list", "--json").demand().json()["locks"]
    assert [item["engine"] for item in listed] == ["gone: a registry may have it"]
    assert not (one.state / "upgrade").exists()
