"""Any sequence of commands, kills and interruptions must leave a stack of which `status` tells the truth.

STACK_TEST_SEQUENCES=N runs N sequences instead of a few.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.scenarios.engine import find_address
from tests.scenarios.harness import INTERRUPTED, Stack, eventually, run_docker, start
from tests.scenarios.projects import build_small_stack, render_small_config

SEQUENCES = int(os.environ.get("STACK_TEST_SEQUENCES", "3"))
MOST_STEPS = 6
SIGNALS = {number.name: number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)}
CONFIGS = {
    "plain": ("", ""),
    "key": ("api-key = true", ""),
    "other argument": ("", "[engine.args]\nmax-model-len = 1024\n"),
    "slow boot": ("", ""),
}
# By the signal itself: in its last moments a process of Python has no handler any more.
ENDED = {0, INTERRUPTED, *(-number for number in SIGNALS.values())}

action = st.one_of(
    st.tuples(st.just("up")),
    st.tuples(st.just("down")),
    st.tuples(st.just("kill"), st.sampled_from(["container", "process"])),
    st.tuples(st.just("configure"), st.sampled_from(sorted(CONFIGS))),
    st.tuples(
        st.just("interrupt"), st.sampled_from(["up", "up", "down"]), st.sampled_from(sorted(SIGNALS)),
        st.integers(0, 25),
    ),
)  # fmt: skip


@dataclass
class World:
    """A project that things happen to, one that nothing may happen to, and everything that was said."""

    stack: Stack
    bystander: Stack
    image: str
    before: str = ""
    said: list[str] = field(default_factory=list)

    def run(self, *arguments: str) -> Any:
        done = self.stack.run(*arguments)
        self.said += [done.out, done.err]
        return done

    def up(self) -> None:
        self.run("up", "--no-smoke").demand()

    def down(self) -> None:
        self.run("down").demand()

    def kill(self, what: str) -> None:
        engine = self.stack.containers().get("engine")
        if engine is None or not engine["State"]["Running"]:
            return
        process = ["exec", engine["Id"], "sh", "-c", "kill -9 $(pidof python3)"]
        argv = ["kill", engine["Id"]] if what == "container" else process
        # It may end by itself between the two.
        subprocess.run(["docker", *argv], capture_output=True)

    def configure(self, name: str) -> None:
        arguments = "--boot-seconds 2" if name == "slow boot" else ""
        more, after = CONFIGS[name]
        self.stack.write_config(render_small_config(self.image, arguments, more, after))

    def interrupt(self, command: str, number: str, tenths: int) -> None:
        lock = self.stack.state / "lock"
        lock.unlink(missing_ok=True)
        arguments = ["up", "--no-smoke"] if command == "up" else ["down"]
        with start(self.stack, *arguments) as running:
            eventually(lambda: lock.exists() or running.process.poll() is not None, "a lock", every_seconds=0.02)
            try:
                running.process.wait(tenths / 10)
            except subprocess.TimeoutExpired:
                running.end(SIGNALS[number])
            self.said.append(running.said)
            assert running.process.returncode in ENDED, running.said

    def look(self) -> str:
        """Tell everything of the bystander that somebody could have touched."""
        states = {name: (item["Id"], item["State"]["StartedAt"]) for name, item in self.bystander.containers().items()}
        networks = run_docker(
            "network", "ls", "-q", "--filter", f"label=com.docker.compose.project={self.bystander.name}"
        )
        files = {str(path): path.stat().st_mtime_ns for path in self.bystander.state.rglob("*") if path.is_file()}
        return json.dumps([states, sorted(networks.split()), files], sort_keys=True)

    def check(self) -> None:
        # What a killed tool had asked of Docker may still be going on.
        eventually(self.is_status_true, "a status that tells what Docker tells")
        assert self.look() == self.before
        said = "\n".join(self.said) + json.dumps(self.stack.containers())
        assert "Traceback" not in said
        for secret in find_secrets(self.stack):
            assert secret not in said

    def is_status_true(self) -> bool:
        document = self.run("status", "--json").demand().json()
        told = {item["name"]: (item["state"], item["started_at"]) for item in document["services"]}
        found = self.stack.containers()
        running = any(item["State"]["Running"] for item in found.values())
        assert (document["state"] == "down") == (not running), document["state"]
        assert {name: state for name, (state, _) in told.items()} == {
            name: item["State"]["Status"] for name, item in found.items()
        }
        return True

    def reset(self) -> None:
        self.configure("plain")
        self.down()


def find_secrets(stack: Stack) -> list[str]:
    folder = stack.state / "secrets"
    return [path.read_text().strip() for path in folder.iterdir()] if folder.is_dir() else []


@pytest.fixture(scope="module")
def world(make_stack: Callable[..., Stack], fake_engine: str, tmp_path_factory: pytest.TempPathFactory) -> World:
    data = tmp_path_factory.mktemp("data")
    make, config = partial(make_stack, data=data), render_small_config(fake_engine)
    bystander = build_small_stack(make, "bystander", config)
    bystander.run("up", "--no-smoke").demand()
    stack = build_small_stack(make, "sequences", config)
    world = World(stack, bystander, fake_engine)
    world.before = world.look()
    return world


@pytest.mark.fault(
    "any sequence of up, down, kills, interruptions and changed configurations",
    "`stack status` tells what Docker tells, no other project is touched, no secret shows, the next `up` succeeds",
)
@pytest.mark.timeout(600 + 60 * SEQUENCES)
def test_any_sequence_leaves_a_stack_that_status_describes_and_up_completes(world: World) -> None:
    @settings(
        max_examples=SEQUENCES, deadline=None, database=None, derandomize="STACK_TEST_SEQUENCES" not in os.environ,
        phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.lists(action, min_size=MOST_STEPS - 1, max_size=MOST_STEPS))
    def run(actions: list[tuple[Any, ...]]) -> None:
        world.said.clear()
        for name, *arguments in actions:
            getattr(world, name)(*arguments)
            world.check()
        world.up()
        world.check()
        assert world.stack.containers()["engine"]["State"]["Running"]
        # A restart by Docker stays news for some minutes, also of an engine that serves again.
        reasons = [item["message"] for item in world.stack.status()["reasons"]]
        assert all("was restarted" in message for message in reasons), reasons
        assert find_address(world.stack) == world.stack.url("engine")
        world.reset()

    run()
    assert Path(world.stack.state, "state.json").is_file()
