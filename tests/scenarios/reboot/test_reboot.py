"""What a restart of the machine does to the stack, in order and by loss of power; on a daemon of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable

import pytest

from tests.fixtures.private_daemon import PrivateDaemon
from tests.scenarios.engine import answers, read_engine
from tests.scenarios.harness import Stack, eventually, run_docker
from tests.scenarios.projects import render_config

pytestmark = pytest.mark.root

Make = Callable[[str, str], Stack]
RESTARTS = {"in order": PrivateDaemon.reboot, "by loss of power": PrivateDaemon.lose_power}
MOST_RESTARTS = 3
SETTLED_SOON = '[engine.env]\nSTACK_SETTLED_SECONDS = "1"\n'


def crash(stack: Stack) -> None:
    """Let the engine's process end as a crash does, and wait until Docker has started it again."""
    before = read_engine(stack)
    run_docker("exec", before["Id"], "sh", "-c", "kill -9 $(pidof python3)")
    eventually(
        lambda: (
            read_engine(stack)["State"]["StartedAt"] != before["State"]["StartedAt"]
            and read_engine(stack)["State"]["Running"]
        ),
        "an engine that Docker started again",
    )


def wait_settled(stack: Stack) -> None:
    engine = read_engine(stack)["Id"]
    eventually(
        lambda: run_docker("exec", engine, "ls", "/tmp").split().count("stack-settled"),
        "a settled engine",
    )


def has_given_up(stack: Stack) -> bool:
    state = read_engine(stack)["State"]
    # Between an end and the next start, too, Docker says for a moment that nothing runs and nothing restarts.
    return state["ExitCode"] == 0 and not state["Running"] and not state["Restarting"]


@pytest.mark.fault(
    "the machine restarts, in order or by loss of power",
    "the engine comes back by itself and answers; `stack up` only notes the new boot",
)
@pytest.mark.parametrize("how", RESTARTS)
def test_the_engine_comes_back_by_itself_and_up_changes_nothing(
    make_private_stack: Make, private_daemon: PrivateDaemon, fake_engine: str, how: str
) -> None:
    stack = make_private_stack("back", render_config(fake_engine, "--boot-seconds 4"))
    stack.run("up", "--no-smoke").demand()
    before = read_engine(stack)
    RESTARTS[how](private_daemon)
    eventually(lambda: answers(stack), "an answer without any `stack up`")
    after = read_engine(stack)
    assert after["Id"] == before["Id"]
    assert after["State"]["StartedAt"] != before["State"]["StartedAt"]

    plan = stack.run("up", "--no-smoke", "--dry-run", "--json").demand().json()
    assert [step["name"] for step in plan["steps"]] == ["boot"], "only this boot is not known yet"
    stack.run("up", "--no-smoke").demand()
    assert read_engine(stack)["State"]["StartedAt"] == after["State"]["StartedAt"]
    boot = stack.status()["boot"]
    assert boot["outcome"] == "ready"
    assert boot["id"] == 2
    assert stack.run("up", "--no-smoke", "--dry-run", "--json").demand().json()["steps"] == []


@pytest.mark.fault(
    "the state directory is gone while the stack runs",
    "the next `stack up` takes the running containers over without a restart",
)
def test_a_stack_whose_state_was_lost_is_taken_over_as_it_runs_and_survives_a_reboot(
    make_private_stack: Make, private_daemon: PrivateDaemon, fake_engine: str
) -> None:
    stack = make_private_stack("lost", render_config(fake_engine))
    stack.run("up", "--no-smoke").demand()
    before = read_engine(stack)
    shutil.rmtree(stack.state)
    stack.run("up", "--no-smoke").demand()
    after = read_engine(stack)
    assert (after["Id"], after["State"]["StartedAt"]) == (before["Id"], before["State"]["StartedAt"])
    private_daemon.reboot()
    eventually(lambda: answers(stack), "an answer without any `stack up`")


@pytest.mark.fault(
    "the machine restarts after `stack down`",
    "what was taken down stays down; `stack up` brings it back",
)
@pytest.mark.parametrize("how", RESTARTS)
def test_what_was_taken_down_stays_down(
    make_private_stack: Make, private_daemon: PrivateDaemon, fake_engine: str, how: str
) -> None:
    stack = make_private_stack("down", render_config(fake_engine))
    stack.run("up", "--no-smoke").demand()
    stack.run("down").demand()
    RESTARTS[how](private_daemon)
    assert stack.containers() == {}
    stack.run("up", "--no-smoke").demand()
    assert answers(stack)


@pytest.mark.parametrize("how", RESTARTS)
def test_a_crash_loop_ends_and_a_restart_of_the_machine_does_not_start_it_again(
    make_private_stack: Make, private_daemon: PrivateDaemon, fake_engine: str, how: str
) -> None:
    stack = make_private_stack("loop", render_config(fake_engine, "--crash-log /opt/fake/fake_engine/engine.py"))
    stack.run("up", "--no-smoke").demand(5)
    eventually(lambda: has_given_up(stack), "the end of the crash loop")
    ended = read_engine(stack)
    assert ended["RestartCount"] == MOST_RESTARTS
    assert "ended 4 times in a row" in stack.run("logs", "engine").demand().out
    RESTARTS[how](private_daemon)
    assert has_given_up(stack)
    assert read_engine(stack)["State"]["StartedAt"] == ended["State"]["StartedAt"]

    stack.write_config(render_config(fake_engine))
    stack.run("up", "--no-smoke").demand()
    assert answers(stack)


@pytest.mark.parametrize("how", RESTARTS)
def test_a_restart_of_the_machine_amid_a_crash_loop_adds_no_retries(
    make_private_stack: Make, private_daemon: PrivateDaemon, fake_engine: str, how: str
) -> None:
    arguments = "--boot-seconds 4 --misbehave die-on-bad-input"
    stack = make_private_stack("amid", render_config(fake_engine, arguments))
    stack.run("up", "--no-smoke").demand()
    for _ in range(MOST_RESTARTS - 1):
        crash(stack)
    RESTARTS[how](private_daemon)
    eventually(lambda: read_engine(stack)["State"]["Running"], "the engine after the restart")
    crash(stack)
    run_docker("exec", read_engine(stack)["Id"], "sh", "-c", "kill -9 $(pidof python3)")
    eventually(lambda: has_given_up(stack), "the end of the crash loop")


@pytest.mark.parametrize("how", RESTARTS)
def test_an_engine_that_crashed_now_and_then_comes_back_all_the_same(
    make_private_stack: Make, private_daemon: PrivateDaemon, fake_engine: str, how: str
) -> None:
    stack = make_private_stack("aged", render_config(fake_engine, after=SETTLED_SOON))
    stack.run("up", "--no-smoke").demand()
    for _ in range(MOST_RESTARTS + 1):
        wait_settled(stack)
        crash(stack)
    wait_settled(stack)
    RESTARTS[how](private_daemon)
    eventually(lambda: answers(stack), "an answer without any `stack up`")


def test_an_engine_that_cannot_read_its_key_ends_its_loop_too(make_private_stack: Make, fake_engine: str) -> None:
    config = render_config(fake_engine, more="api-key = true")
    stack = make_private_stack("key", config)
    stack.run("up", "--no-smoke").demand()
    key = stack.state / "secrets" / "api_key"
    text = key.read_text()
    key.write_text("")
    run_docker("restart", read_engine(stack)["Id"])
    eventually(lambda: has_given_up(stack), "the end of the crash loop")
    assert read_engine(stack)["RestartCount"] == MOST_RESTARTS
    key.write_text(text)
    stack.run("up", "--no-smoke").demand()
    assert json.loads(stack.run("status", "--json").out)["boot"]["outcome"] == "ready"
