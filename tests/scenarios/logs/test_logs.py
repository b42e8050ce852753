"""What an engine wrote must be found by request, level, time and boot, also where its container is gone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.harness import PATIENCE_SECONDS, Stack, eventually
from tests.scenarios.projects import render_config

CORE = "(EngineCore pid=21) ERROR 11-22 12:00:02 [core.py:1514] "
SERVER = "(APIServer pid=9) INFO 11-22 12:00:01 [async_llm.py:553] "
FAILED = [
    CORE + "EngineCore encountered a fatal error.\r", CORE + "Traceback (most recent call last):\r",
    CORE + '  File "/opt/vllm/x.py", line 1, in step\r', CORE + "torch.OutOfMemoryError: CUDA out of memory. Tried it",
]  # fmt: skip


def say(stack: Stack, *lines: str) -> None:
    text = "".join(f"{line}\n" for line in lines).encode()
    urllib.request.urlopen(urllib.request.Request(f"{stack.url('engine')}/_log", text), timeout=30).close()


@pytest.fixture(scope="module")
def stack(make_stack: Callable[..., Stack], fake_engine: str) -> Stack:
    stack = make_stack("logs", render_config(fake_engine))
    stack.run("up", "--no-smoke").demand()
    say(stack, SERVER + "Added request chatcmpl-alpha-1.", SERVER + "Added request chatcmpl-alphabet.")
    # Another engine arg makes another container: the log of this one is kept.
    stack.write_config(render_config(fake_engine, "--step-seconds 0.002"))
    stack.run("up", "--no-smoke").demand()
    say(stack, SERVER + "Added request chatcmpl-alpha-2.", "a line without a level", *FAILED)
    eventually(lambda: "out of memory" in stack.run("logs").demand().out, "the log")
    return stack


def read(stack: Stack, *arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stack.run("logs", *arguments, "--json").demand().out.splitlines()]


def test_a_request_is_found_in_the_kept_boot_and_in_the_current_one(stack: Stack) -> None:
    found = read(stack, "engine", "--request-id", "alpha")
    assert [(line["boot"], line["message"], line["request_id"]) for line in found] == [
        (1, "Added request chatcmpl-alpha-1.", "chatcmpl-alpha-1"),
        (2, "Added request chatcmpl-alpha-2.", "chatcmpl-alpha-2"),
        (2, "a line without a level", "chatcmpl-alpha-2"),
    ]
    assert [line["continues"] for line in found] == [False, False, True]
    shown = stack.run("logs", "--request-id", "alpha", "--lines", "1").demand().out
    assert shown == "a line without a level\n"


def test_a_boot_is_shown_alone_and_one_that_is_not_kept_is_told(stack: Stack) -> None:
    assert {line["boot"] for line in read(stack, "--boot", "1")} == {1}
    assert {line["boot"] for line in read(stack, "--boot", "last")} == {2}
    assert read(stack, "--boot", "all") == read(stack, "--boot", "1") + read(stack, "--boot", "2")
    missing = stack.run("logs", "--boot", "7").demand(2)
    assert "the log of boot 7 is not kept; kept are those of 1, 2" in missing.err


def test_an_error_is_shown_with_all_of_its_traceback_and_its_known_failure(stack: Stack) -> None:
    shown = stack.run("logs", "--level", "error", "--labels").demand().out.splitlines()
    known = read(stack, "--lines", "1")[0]
    revision = known["revision"].removeprefix("sha256:")[:12]
    label = f"boot-2 {known['model']}@{revision} {known['version'] or 'commit-unknown'}"
    assert all(line.startswith(f"[{label}") for line in shown)
    assert [line.partition("] (EngineCore pid=21)")[2] for line in shown] == [
        line.removeprefix("(EngineCore pid=21)").strip("\r") for line in FAILED
    ]
    assert "cuda-oom" in shown[-1].partition("]")[0]


def test_times_choose_records_of_every_kept_boot(stack: Stack) -> None:
    whole = read(stack, "--boot", "all")
    middle = next(line["time"] for line in whole if line["boot"] == 2)
    later = read(stack, "--since", middle)
    assert [line["boot"] for line in later] == [2] * len(later)
    assert [line["boot"] for line in read(stack, "--until", whole[0]["time"])][:1] == [1]
    assert read(stack, "--since", "1h") == whole


def test_every_line_of_the_container_is_shown(stack: Stack) -> None:
    engine = stack.containers()["engine"]["Id"]
    said = subprocess.run(["docker", "logs", engine], capture_output=True, check=True).stdout.decode()
    assert stack.run("logs", "engine").demand().out == said.replace("\r\n", "\n")
    told = stack.run("logs", "all").demand().out.splitlines()
    assert [line.removeprefix("engine        | ") for line in told] == said.replace("\r\n", "\n").splitlines()


@contextmanager
def follow(stack: Stack, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    path = stack.folder / "followed.txt"
    argv = [sys.executable, "-m", "stack", "logs", "--follow", *arguments]
    with path.open("wb") as file:
        process = subprocess.Popen(argv, cwd=stack.folder, env=stack.environment(), stdout=file)
    try:
        yield process, path
    finally:
        process.kill()
        process.wait()


def test_what_is_still_to_come_is_chosen_likewise_and_nothing_is_told_twice(stack: Stack) -> None:
    with follow(stack, "--request-id", "alpha", "--lines", "2") as (process, path):
        eventually(lambda: "alpha-2" in path.read_text(), "the last lines of before")
        for number in range(3, 6):
            say(stack, SERVER + f"Added request chatcmpl-alpha-{number}.", SERVER + f"Added request other-{number}.")
        eventually(lambda: "alpha-5" in path.read_text(), "the new lines")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) == 130
        said = [line.removeprefix(SERVER) for line in path.read_text().splitlines()]
    assert said == [
        "Added request chatcmpl-alpha-2.", "a line without a level",
        *(f"Added request chatcmpl-alpha-{number}." for number in range(3, 6)),
    ]  # fmt: skip


def test_an_engine_that_is_gone_has_left_every_line_with_its_time(stack: Stack) -> None:
    before = read(stack, "--boot", "all")
    stack.run("down").demand()
    assert [line["raw"] for line in read(stack, "--boot", "all")][: len(before)] == [line["raw"] for line in before]
    assert [line["message"] for line in read(stack, "--request-id", "alpha-1")] == ["Added request chatcmpl-alpha-1."]
    assert stack.run("logs", "--boot", "last", "--level", "error", "--lines", "1").demand().out == f"{FAILED[-1]}\n"
    stack.run("logs", "prometheus").demand(5)
