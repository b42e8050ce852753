"""An ejected directory serves with nothing but Docker."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.scenarios.harness import Stack, eventually
from tests.scenarios.projects import render_config


@pytest.fixture
def ejected(make_stack: Callable[..., Stack], fake_engine: str, tmp_path: Path) -> Iterator[Path]:
    stack = make_stack("eject", render_config(fake_engine))
    stack.run("warm").demand()
    folder = tmp_path / "plain"
    stack.run("eject", str(folder)).demand()
    yield folder
    subprocess.run(["docker", "compose", "down", "--volumes"], cwd=folder, capture_output=True, check=True)


def run_compose(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["docker", "compose", *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_ejected_directory_serves_with_nothing_but_docker(ejected: Path) -> None:
    run_compose(ejected, "up", "--detach")
    port = run_compose(ejected, "port", "engine", "8000").strip()
    body = {
        "model": "smollm2-135m-instruct",
        "messages": [{"role": "user", "content": "What is the capital of Japan?"}],
    }
    request = urllib.request.Request(
        f"http://{port}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )

    def answers() -> bool:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return "Tokyo" in json.load(answer)["choices"][0]["message"]["content"]

    eventually(answers, "a right answer from the ejected stack")
