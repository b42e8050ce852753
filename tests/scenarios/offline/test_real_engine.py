"""What ran once must run on another machine that has no images and no network, and be right there, without trying to
leave."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.private_daemon import PrivateDaemon
from tests.fixtures.way_out import WayOut
from tests.scenarios.harness import Stack, services_of
from tests.scenarios.offline.test_offline import NOTHING, check_counters

# Five gigabytes are saved, moved and loaded, and the engine boots twice.
pytestmark = [pytest.mark.root, pytest.mark.timeout(2400)]

CONFIG = """
[model]
id = "demo"

[engine]
device = "cpu"
log-format = "json"
"""
Make = Callable[..., Stack]


@pytest.fixture(scope="module")
def bundle(make_stack: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stack that was up on this machine, in a file; it is down again, for its memory is needed on the other one."""
    stack = make_stack("origin", CONFIG)
    # Not in stack.toml: on the other machine the lock alone tells.
    stack.environ["STACK_IMAGES_SOURCE"] = "packages"
    stack.run("up", "--no-smoke").demand()
    file = tmp_path_factory.mktemp("carried") / "stack.tar"
    stack.run("bundle", "save", str(file), "--no-tool").demand()
    stack.run("down").demand()
    return file


def measure(there: Stack) -> None:
    """vLLM's own client must find its tokenizer here, too, and send what it was asked for."""
    document = there.run("bench", "--repeats", "1", "--seconds", "5", "--json").demand().json()
    load, [repeat] = document["load"], document["repeats"]
    assert (repeat["completed"], repeat["failed"], document["foreign_requests"]) == (load["prompts"], 0, 0)
    assert repeat["output_tokens"] == load["prompts"] * load["output_tokens"]
    assert document["figures"]["ttft_seconds.p95"]["median"] > 0


def check_log(there: Stack) -> None:
    """The engine must write JSON as it was asked, and its boot be read from that as from text."""
    report = there.run("report", "last", "--json").demand().json()
    # Each line begins with the time at which Docker had it.
    lines = [line.partition(" ")[2] for line in Path(report["log_path"]).read_text().splitlines()]
    records = [json.loads(line) for line in lines if line[:1] == "{"]
    assert {"vllm", "uvicorn"} <= {record["name"].partition(".")[0] for record in records}
    assert {"load", "kv-cache", "server", "first-token"} <= set(report["boot"]["phases"])


@pytest.mark.fault(
    "the network is gone, and the machine is a new one",
    "`stack bundle load FILE` and `stack up --offline` give the same engine on the same model, smoke passes, and "
    "no packet leaves",
)
def test_a_stack_that_was_carried_over_boots_and_is_right_without_a_network(
    bundle: Path, make_there: Make, daemon: PrivateDaemon, way_out: WayOut
) -> None:
    there = make_there("carried", "")
    (there.folder / "stack.toml").unlink()
    there.run("bundle", "load", str(bundle)).demand()
    bundle.unlink()
    up = there.run("up", "--offline").demand()
    assert "smoke     passed: " in up.out
    assert "offline = true: as asked" in up.err
    status = there.status()
    assert (status["smoke"]["passed"], status["engine"]["commit_level"]) == (True, "claimed")
    assert {"engine", "prometheus", "node-exporter"} <= set(services_of(status))
    assert there.run("chat", "What is the capital of Germany?").demand().out.strip() == (
        "The capital of Germany is Berlin."
    )
    again = there.run("up", "--offline").demand().err
    assert "nothing to do" in again, again
    there.run("doctor", "--offline").demand()
    check_log(there)
    measure(there)
    assert way_out.read() == NOTHING
    check_counters(there, daemon, way_out)
