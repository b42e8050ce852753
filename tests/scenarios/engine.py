"""A project's engine, as scenarios look at it, ask it and make it misbehave."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from stack.telemetry.exposition import parse_exposition
from tests.scenarios.harness import Stack


def read_engine(stack: Stack) -> dict[str, Any]:
    """Give `docker inspect` of the engine's container."""
    return stack.containers()["engine"]


def find_address(stack: Stack) -> str:
    """Give where the engine answers, by its container: quicker than asking the tool."""
    return f"http://127.0.0.1:{read_engine(stack)['HostConfig']['PortBindings']['8000/tcp'][0]['HostPort']}"


def answers(stack: Stack) -> bool:
    """Ask the tool for an answer of the engine, and tell whether it is the right one."""
    return stack.run("chat", "What is the capital of Japan?").demand().out.strip().endswith("Tokyo.")


def misbehave(stack: Stack, *modes: str) -> None:
    """Have the fake engine do what these modes say, and nothing else; without one it is well again."""
    body = json.dumps({"modes": modes}).encode()
    with urllib.request.urlopen(f"{find_address(stack)}/_misbehave", body, timeout=30) as answer:
        assert json.load(answer)["modes"] == sorted(modes)


def count_requests(url: str) -> float:
    """Count the requests that run or wait, by the engine's own metrics."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as answer:
        page = parse_exposition(answer.read().decode())
    return sum(page.total(f"vllm:num_requests_{where}") or 0 for where in ("running", "waiting"))
