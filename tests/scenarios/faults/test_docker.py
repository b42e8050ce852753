"""Docker that is missing, stops or restarts must be told with the way out, and must cost nothing that was there."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.private_daemon import PrivateDaemon
from tests.scenarios.engine import answers, read_engine
from tests.scenarios.harness import Stack, eventually, start
from tests.scenarios.projects import render_small_config
from tests.unit.models.conftest import build_model_files, write_files

Make = Callable[[str, str], Stack]
COMMANDS = (["up"], ["status"], ["down"], ["logs", "engine"], ["smoke"], ["chat", "x"])


@pytest.fixture
def stack(make_private_stack: Make, fake_engine: str) -> Stack:
    made = make_private_stack("docker", render_small_config(fake_engine, "--boot-seconds 2"))
    write_files(made.folder / "model", build_model_files())
    return made


@pytest.mark.root
@pytest.mark.fault(
    "Docker is not running",
    "Exit 3 of every command with how to start it; when it runs again, the stack is up again",
)
def test_every_command_tells_a_docker_that_does_not_run(stack: Stack, private_daemon: PrivateDaemon) -> None:
    stack.run("up", "--no-smoke").demand()
    private_daemon.stop()
    try:
        for command in COMMANDS:
            # The daemon's network is gone with it.
            done = Stack.run(stack, *command).demand(3)
            assert "the Docker daemon does not answer" in done.err
            assert "hint: start it: `sudo systemctl start docker`" in done.err
            assert "Traceback" not in done.err and done.out == ""
    finally:
        private_daemon.start()
    eventually(lambda: answers(stack), "an answer after Docker's return")
    stack.run("up", "--no-smoke").demand()


@pytest.mark.root
@pytest.mark.fault(
    "Docker stops while `stack up` waits for the engine",
    "Exit 5 at once, with that Docker may have stopped; with Docker back the next `stack up` goes on",
)
def test_a_docker_that_stops_during_up_is_told_at_once(stack: Stack, private_daemon: PrivateDaemon) -> None:
    sound = (stack.folder / "stack.toml").read_text()
    stack.write_config(sound.replace("--boot-seconds 2", "--boot-seconds 300"))
    with private_daemon.network(), start(stack, "up", "--no-smoke") as up:
        up.wait_said("\nboot: ")
        try:
            private_daemon.stop()
            assert up.wait_end() == 5
        finally:
            private_daemon.start()
        assert "Traceback" not in up.said
        assert "by Docker as it stopped" in up.said and "hint: see whether Docker runs" in up.said
    stack.write_config(sound)
    stack.run("up", "--no-smoke").demand()
    assert answers(stack)
    assert stack.status()["boot"]["outcome"] == "ready"


@pytest.mark.root
@pytest.mark.fault(
    "Docker is restarted under a running stack",
    "The engine comes back by itself and answers; `stack up` only notes the new boot",
)
def test_a_stack_comes_back_after_a_restart_of_docker(stack: Stack, private_daemon: PrivateDaemon) -> None:
    stack.run("up", "--no-smoke").demand()
    before = read_engine(stack)
    private_daemon.restart_docker()
    eventually(lambda: answers(stack), "an answer without any `stack up`")
    assert read_engine(stack)["Id"] == before["Id"]
    plan = stack.run("up", "--no-smoke", "--dry-run", "--json").demand().json()
    assert [step["name"] for step in plan["steps"]] == ["boot"]
    stack.run("up", "--no-smoke").demand()
    assert stack.run("up", "--no-smoke", "--dry-run", "--json").demand().json()["steps"] == []


@pytest.mark.fault(
    "Compose is only there as the old `docker-compose` 1",
    "Exit 3 with what is needed and how to get it; nothing is started",
)
def test_an_old_compose_alone_is_told(make_stack: Callable[..., Stack], fake_engine: str, tmp_path: Path) -> None:
    stack = make_stack("compose1", render_small_config(fake_engine))
    write_files(stack.folder / "model", build_model_files())
    real = shutil.which("docker")
    for name, script in {
        # What the docker CLI says where it finds no plugin, and what the last Compose 1 says.
        "docker": f'case "$1" in compose) echo "docker: \'compose\' is not a docker command." >&2; exit 1;; esac\n'
        f'exec "{real}" "$@"\n',
        "docker-compose": "echo 1.29.2\n",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}")
        (tmp_path / name).chmod(0o755)
    stack.environ["PATH"] = f"{tmp_path}:{os.environ['PATH']}"
    done = stack.run("up", "--no-smoke").demand(3)
    assert "Docker Compose v2 is not installed" in done.err
    assert "only `docker-compose` 1.29.2 is here" in done.err
    assert "hint: ./scripts/up installs it" in done.err
    assert stack.containers() == {}
    del stack.environ["PATH"]
    assert subprocess.run([tmp_path / "docker", "compose"], capture_output=True).returncode == 1
    assert stack.run("up", "--no-smoke", "--dry-run").demand().out
