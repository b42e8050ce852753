"""What an engine does must be seen live: in a terminal of 80 by 24, in a pipe, and while the engine is killed."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.scenarios.harness import INTERRUPTED, PATIENCE_SECONDS, Stack, eventually, run_docker
from tests.scenarios.projects import render_config

FIRST_SCREEN = "\x1b[?1049l"


@pytest.fixture(scope="module")
def stack(make_stack: Callable[..., Stack], fake_engine: str) -> Stack:
    stack = make_stack("top", render_config(fake_engine, "--step-seconds 0.02"))
    stack.run("up", "--no-smoke").demand()
    return stack


@pytest.fixture(scope="module")
def traffic(stack: Stack) -> Iterator[None]:
    """Clients that ask all the time, also while the engine is away."""
    status, over = stack.status(), threading.Event()
    url = next(item["url"] for item in status["services"] if item["name"] == "engine")
    body = {
        "model": status["engine"]["served_name"],
        "prompt": "How do you count?",
        "max_tokens": 40,
        "ignore_eos": True,
    }

    def ask() -> None:
        while not over.is_set():
            request = urllib.request.Request(
                f"{url}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
            )
            try:
                urllib.request.urlopen(request, timeout=20).read()
            except (OSError, urllib.error.URLError):
                over.wait(0.2)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    yield
    over.set()
    for thread in threads:
        thread.join()


class Seen:
    """A `stack top` in a terminal of its own; `screen` is what it shows now."""

    def __init__(self, stack: Stack, *arguments: str, columns: int = 80, rows: int = 24) -> None:
        self.own, theirs = pty.openpty()
        termios.tcsetwinsize(self.own, (rows, columns))
        environ = {**stack.environment(), "TERM": "xterm-256color"}
        del environ["COLUMNS"]
        self.before = termios.tcgetattr(theirs)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "stack", "top", *arguments],
            cwd=stack.folder, env=environ, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        )  # fmt: skip
        self.theirs, self.written = theirs, ""

    def read(self) -> str:
        while select.select([self.own], [], [], 0)[0]:
            self.written += os.read(self.own, 65536).decode()
        return self.written

    @property
    def screen(self) -> list[str]:
        # Each drawing begins at the upper left corner; the last one may still be under way.
        drawings = self.read().split("\x1b[H")
        last = drawings[-2] if len(drawings) > 2 else ""
        return [line.rstrip() for line in re.sub(r"\x1b\[[\d;?]*[A-Za-z]|\r", "", last).split("\n")]

    def wait_shown(self, text: str) -> None:
        def is_shown() -> bool:
            shown = "\n".join(self.screen)
            assert self.process.poll() is None or text in shown, f"ended: {self.written}"
            return bool(re.search(text, shown))

        eventually(is_shown, f"`{text}` on the screen", every_seconds=0.1)


@pytest.fixture
def see(stack: Stack) -> Iterator[Callable[..., Seen]]:
    with contextlib.ExitStack() as cleanup:

        def call(*arguments: str, **size: int) -> Seen:
            seen = Seen(stack, *arguments, **size)
            cleanup.callback(
                lambda: (seen.process.kill(), seen.process.wait(), os.close(seen.own), os.close(seen.theirs))
            )
            return seen

        yield call


def test_in_a_pipe_tokens_move_under_traffic(stack: Stack, traffic: None) -> None:
    lines = stack.run("top", "--json", "--count", "3", "--interval", "1").demand().out.splitlines()
    first, *others = (json.loads(line) for line in lines)
    assert (first["state"], first["runs"]["project"]) == ("measuring", stack.name)
    for document in others:
        recent = document["total"]["recent"]
        assert recent["generation_tokens_per_second"] > 0
        assert recent["latency_seconds"]["ttft"]["events"] >= 0
        assert document["total"]["running"] > 0
    plain = stack.run("top", "--count", "2", "--interval", "1").demand().out.splitlines()
    assert len(plain) == 2
    assert re.search(r"running [1-3]  .*generated \d+\.\d tokens/s", plain[1])


def test_a_terminal_of_80_by_24_is_filled_and_given_back(traffic: None, see: Callable[..., Seen]) -> None:
    seen = see("--interval", "0.5")
    seen.wait_shown(r"generated/s +[1-9]")
    screen = seen.screen
    assert len(screen) == 24
    assert max(map(len, screen)) <= 80
    assert re.fullmatch(r"stack top  \S+ +\d\d:\d\d:\d\d UTC", screen[0])
    assert re.search(r", served as `\S+`$", screen[2])
    os.write(seen.own, b"q")
    assert seen.process.wait(PATIENCE_SECONDS) == 0
    after = seen.read().rpartition(FIRST_SCREEN)[2]
    assert "generated/s" in after
    assert "\x1b[?25h" in seen.written
    assert termios.tcgetattr(seen.theirs) == seen.before


def test_another_size_is_drawn_anew_and_ctrl_c_ends_it(traffic: None, see: Callable[..., Seen]) -> None:
    seen = see("--interval", "0.5", columns=120, rows=40)
    seen.wait_shown(r"generated/s")
    assert len(seen.screen) == 40
    termios.tcsetwinsize(seen.own, (15, 50))
    eventually(lambda: len(seen.screen) == 15, "a view of the new size", every_seconds=0.1)
    assert max(map(len, seen.screen)) <= 50
    seen.process.send_signal(signal.SIGINT)
    assert seen.process.wait(PATIENCE_SECONDS) == INTERRUPTED
    assert FIRST_SCREEN in seen.read()
    assert termios.tcgetattr(seen.theirs) == seen.before


def test_a_killed_engine_is_told_and_watched_on(stack: Stack, traffic: None) -> None:
    told: list[dict[str, Any]] = []
    engine = stack.containers()["engine"]["Id"]
    argv = [sys.executable, "-m", "stack", "top", "--json", "--interval", "0.3"]
    with subprocess.Popen(
        argv, cwd=stack.folder, env=stack.environment(), stdout=subprocess.PIPE, text=True
    ) as process:  # fmt: skip
        reader = threading.Thread(target=lambda: told.extend(json.loads(line) for line in process.stdout or ()))
        reader.start()

        def states() -> list[str]:
            return [item["state"] for item in list(told)]

        try:
            eventually(lambda: "measured" in states(), "a first measured look")
            run_docker("kill", engine)
            eventually(lambda: "silent" in states(), "a look without an answer")
            eventually(lambda: "exited" in told[-1]["silent"]["why"], "the container's end")
            run_docker("start", engine)
            eventually(lambda: states()[-1] == "measured", "an engine that is measured again")
        finally:
            process.send_signal(signal.SIGINT)
            reader.join(PATIENCE_SECONDS)
        assert process.wait(PATIENCE_SECONDS) == INTERRUPTED
    rates = [item["total"]["recent"] for item in told if item["state"] == "measured"]
    # Three clients, one token each in a step of 0.02 s.
    assert all(0 <= rate["generation_tokens_per_second"] <= 400 for rate in rates)
    back = states().index("measuring", states().index("silent"))
    assert told[back]["total"]["recent"] is None


def test_without_an_engine_it_says_what_to_do(stack: Stack) -> None:
    stack.run("down").demand()
    done = stack.run("top").demand(5)
    assert "`engine` does not run" in done.err
    assert "stack up" in done.err
