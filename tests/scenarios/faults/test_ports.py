"""A port that somebody else has must be named with who has it, and must never end in half a stack."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.scenarios.engine import answers, read_engine
from tests.scenarios.harness import Stack
from tests.scenarios.projects import build_small_stack, render_small_config

LISTEN = """
import os, socket, sys, time
listener = socket.socket()
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen()
open(sys.argv[2], "w").write(str(os.getpid()))
time.sleep(120)
"""


@pytest.fixture(scope="module")
def stack(make_stack: Callable[..., Stack], fake_engine: str) -> Stack:
    return build_small_stack(make_stack, "ports", render_small_config(fake_engine))


@contextmanager
def listen(port: int) -> Iterator[int]:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        yield listener.getsockname()[1]


def find_port(stack: Stack) -> int:
    return urlsplit(stack.url("engine")).port or 0


def ask_port(fake_engine: str, port: int) -> str:
    return f"{render_small_config(fake_engine)}\n[services.engine]\nport = {port}\n"


@contextmanager
def taken_while_compose_starts(stack: Stack, port: int, folder: Path) -> Iterator[Path]:
    """Have somebody take a port in the moment in which Compose is asked to start the services, once."""
    owner = folder / "owner"
    wrapper = folder / "docker"
    wrapper.write_text(
        f'#!/bin/sh\ncase " $* " in *" up "*)\n'
        f"  if [ ! -e {folder}/done ]; then\n"
        f"    touch {folder}/done\n"
        f"    setsid '{sys.executable}' -c '{LISTEN}' {port} {owner} >/dev/null 2>&1 &\n"
        f"    while [ ! -s {owner} ]; do sleep 0.05; done\n"
        f'  fi;;\nesac\nexec "{shutil.which("docker")}" "$@"\n'
    )
    wrapper.chmod(0o755)
    stack.environ["PATH"] = f"{folder}:{os.environ['PATH']}"
    try:
        yield owner
    finally:
        del stack.environ["PATH"]
        if owner.is_file():
            os.kill(int(owner.read_text()), signal.SIGKILL)


@pytest.mark.fault(
    "the usual port of a service is taken before `stack up`",
    "another one is taken, and who has the usual one is told",
)
def test_another_port_than_the_usual_one_is_told_with_its_reason(stack: Stack) -> None:
    # The one that it had, and not 8000: other stacks of this machine come and go.
    stack.run("up", "--no-smoke").demand()
    usual = find_port(stack)
    stack.run("down").demand()
    with listen(usual):
        done = stack.run("up", "--no-smoke").demand()
    assert f"port {usual} is taken by " in done.err
    assert f"(process {os.getpid()}): engine gets {find_port(stack)}" in done.err
    assert find_port(stack) != usual
    assert answers(stack)


@pytest.mark.fault(
    "a port that `stack.toml` asks for is taken before `stack up`",
    "exit 3 with who has it, before anything is touched: what ran goes on",
)
def test_a_port_that_was_asked_for_is_refused_with_who_has_it(stack: Stack, fake_engine: str) -> None:
    before = read_engine(stack)
    with listen(0) as port:
        stack.write_config(ask_port(fake_engine, port))
        done = stack.run("up", "--no-smoke").demand(3)
        assert f"port {port} is taken by " in done.err
        assert f"(process {os.getpid()}), and `services.engine.port` asks for it" in done.err
        assert "hint: " in done.err
        assert read_engine(stack)["State"]["StartedAt"] == before["State"]["StartedAt"]
    stack.run("up", "--no-smoke").demand()
    assert find_port(stack) == port
    assert answers(stack)


@pytest.mark.fault(
    "a port that `stack.toml` asks for is taken while `stack up` runs",
    "exit 3 with who has it; when it is free, the next `stack up` goes on",
)
def test_a_port_that_was_asked_for_and_is_lost_in_the_last_moment_is_told(
    stack: Stack, fake_engine: str, tmp_path: Path
) -> None:
    stack.run("down").demand()
    with listen(0) as port:
        stack.write_config(ask_port(fake_engine, port))
    with taken_while_compose_starts(stack, port, tmp_path) as owner:
        done = stack.run("up", "--no-smoke").demand(3)
        assert f"(process {owner.read_text()}), and `services.engine.port` asks for it" in done.err
        assert "Traceback" not in done.err
    stack.run("up", "--no-smoke").demand()
    assert find_port(stack) == port


@pytest.mark.fault(
    "the port that a service would get is taken while `stack up` runs",
    "the service gets another one, which is told, and the stack is up",
)
def test_a_port_that_is_lost_in_the_last_moment_is_replaced(stack: Stack, fake_engine: str, tmp_path: Path) -> None:
    lost = find_port(stack)
    stack.run("down").demand()
    stack.write_config(render_small_config(fake_engine))
    with taken_while_compose_starts(stack, lost, tmp_path) as owner:
        done = stack.run("up", "--no-smoke").demand()
        assert f"port {lost} is taken by " in done.err
        assert f"(process {owner.read_text()}): engine gets {find_port(stack)}" in done.err
        assert answers(stack)
    assert "nothing to do" in stack.run("up", "--no-smoke").demand().err
