"""`doctor` must tell in seconds whether `up` would work, why not, and must change nothing."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.harness import Stack, run_docker
from tests.scenarios.projects import render_config


@pytest.fixture(scope="module")
def stack(make_stack: Callable[..., Stack], fake_engine: str) -> Stack:
    return make_stack("doctor", render_config(fake_engine))


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def examine(stack: Stack, *, code: int = 0, **environ: str) -> dict[str, Any]:
    """Run doctor and give its document, with the findings by name."""
    stack.environ = environ
    document = stack.run("doctor", "--json").demand(code).json()
    stack.environ = {}
    return document | {"findings": {finding["check"]: finding for finding in document["findings"]}}


def list_machine(stack: Stack) -> list[str]:
    """List everything that doctor could have touched: the project's folders, and Docker's objects of this project."""
    files = []
    for folder in (stack.folder, stack.data):
        for path in [folder, *folder.rglob("*")]:
            figures = path.lstat()
            files.append(f"{path} {figures.st_mode} {figures.st_uid} {figures.st_size} {figures.st_mtime_ns}")
    label = f"label=com.docker.compose.project={stack.name}"
    objects = [run_docker(kind, "ls", "--quiet", "--filter", label) for kind in ("container", "network", "volume")]
    return sorted(files) + objects


def test_a_machine_that_can_is_told_so_and_left_as_it_was(stack: Stack) -> None:
    stack.run("warm").demand()
    before = list_machine(stack)
    document = examine(stack)
    assert document["would_work"] is True
    assert document["headline"].startswith("`stack up` would work: CPU engine (")
    assert document["findings"]["docker"]["status"] == "pass"
    assert not [f for f in document["findings"].values() if "the check itself failed" in f["message"]]
    assert list_machine(stack) == before


def test_a_port_that_was_asked_for_and_is_taken_names_its_process(stack: Stack, taken: int, fake_engine: str) -> None:
    stack.write_config(render_config(fake_engine) + f"\n[services.engine]\nport = {taken}\n")
    document = examine(stack, code=3)
    stack.write_config(render_config(fake_engine))
    ports = document["findings"]["ports"]
    name = Path("/proc/self/comm").read_text().strip()
    assert ports["status"] == "fail"
    assert f"port {taken} for `engine` is taken by `{name}` (process {os.getpid()})" in ports["message"]
    assert "`services.engine.port`" in ports["hint"]


def test_a_socket_that_nobody_serves_is_a_finding_beside_all_others(stack: Stack, tmp_path: Path) -> None:
    path = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        document = examine(stack, code=3, DOCKER_HOST=f"unix://{path}")
    findings = document["findings"]
    assert findings["docker"]["status"] == "fail"
    assert f"unix://{path}" in findings["docker"]["message"]
    assert findings["storage-driver"]["status"] == "skip"
    assert findings["disk-space"]["status"] in ("pass", "warn")


def test_a_daemon_that_accepts_and_says_nothing_keeps_nobody_waiting(stack: Stack, tmp_path: Path) -> None:
    path = tmp_path / "silent.sock"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        document = examine(stack, code=3, DOCKER_HOST=f"unix://{path}")
    assert document["findings"]["docker"]["status"] in ("fail", "warn")
    assert document["would_work"] is False


def test_what_fails_a_preflight_stops_up_before_anything_is_made(stack: Stack, taken: int, fake_engine: str) -> None:
    stack.write_config(render_config(fake_engine) + f"\n[services.engine]\nport = {taken}\n")
    done = stack.run("up").demand(3)
    stack.write_config(render_config(fake_engine))
    assert f"port {taken}" in done.err
    assert stack.containers() == {}


def test_a_running_project_holds_its_own_ports(stack: Stack) -> None:
    stack.run("up", "--no-smoke").demand()
    document = examine(stack)
    ports = document["findings"]["ports"]
    assert (ports["status"], "(engine, running)" in ports["message"]) == ("pass", True)
    assert document["findings"]["leftovers"]["status"] == "pass"
