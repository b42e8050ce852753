"""Whatever ends `stack up`, and in whichever step: nothing is corrupt, and the same command goes on from there."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.fake_hub import FakeHub, run_hub
from tests.scenarios.faults.projects import build_small_stack, render_config
from tests.scenarios.harness import INTERRUPTED, Running, Stack, run_docker, start
from tests.scenarios.registry.test_registry import Registry
from tests.unit.models.conftest import build_model_files

SIGNALS = (signal.SIGINT, signal.SIGKILL, signal.SIGTERM)
SLOW = "--boot-seconds 1 --step-seconds 0.01"


def remove_containers(stack: Stack) -> None:
    if ids := [item["Id"] for item in stack.containers().values()]:
        run_docker("rm", "--force", *ids)


def end_three_times(stack: Stack, wait: Callable[[Running], None], before: Callable[[], None] = lambda: None) -> None:
    """End `up` by each signal, in the step that `wait` waits for; each but the first finds what the last left."""
    for number in SIGNALS:
        before()
        with start(stack, "up") as up:
            wait(up)
            code = up.end(number)
            assert code == (-number if number == signal.SIGKILL else INTERRUPTED), up.said
            assert "Traceback" not in up.said
            assert number == signal.SIGKILL or "the same command goes on from here" in up.said


def assert_up_goes_on(stack: Stack) -> None:
    done = stack.run("up").demand()
    assert "Traceback" not in done.err
    document = stack.status()
    assert (document["state"], document["drift"], document["boot"]["outcome"]) == ("up", [], "ready")
    assert document["smoke"]["passed"]
    assert [path.name for path in stack.state.rglob(".*") if path.is_file()] == []
    assert read_history(stack, "PRAGMA integrity_check") == ["ok"]


def read_history(stack: Stack, query: str) -> list[Any]:
    connection = sqlite3.connect(stack.state / "history.sqlite")
    try:
        return [row[0] for row in connection.execute(query)]
    finally:
        connection.close()


@pytest.fixture(scope="module")
def whole(make_stack: Callable[..., Stack], fake_engine: str) -> Stack:
    return build_small_stack(make_stack, "ends", render_config(fake_engine, SLOW))


@pytest.fixture
def stack(whole: Stack) -> Stack:
    """The project as if it had never been up."""
    remove_containers(whole)
    shutil.rmtree(whole.state, ignore_errors=True)
    (whole.folder / "stack.lock").unlink(missing_ok=True)
    return whole


@pytest.mark.fault(
    "Ctrl-C, SIGTERM or SIGKILL while `stack up` decides", "nothing was changed; the same command starts anew"
)
def test_up_ends_while_it_decides(stack: Stack) -> None:
    lock = stack.state / "lock"
    end_three_times(stack, lambda up: up.wait(lock.exists, "the lock"), lambda: lock.unlink(missing_ok=True))
    assert stack.containers() == {}
    assert_up_goes_on(stack)


@pytest.mark.fault(
    "Ctrl-C, SIGTERM or SIGKILL while files are written",
    "each file is the old or the new one; the same command writes the rest",
)
def test_up_ends_while_it_writes_its_files(stack: Stack) -> None:
    def clear() -> None:
        remove_containers(stack)
        shutil.rmtree(stack.state / "rendered", ignore_errors=True)

    end_three_times(stack, lambda up: up.wait((stack.state / "rendered").exists, "a folder of files"), clear)
    assert_up_goes_on(stack)


@pytest.mark.fault(
    "Ctrl-C, SIGTERM or SIGKILL while Compose starts the services",
    "what Compose made stays; the same command finishes or replaces it",
)
def test_up_ends_while_compose_starts_the_services(stack: Stack) -> None:
    end_three_times(stack, lambda up: up.wait_said("services: starting"), lambda: remove_containers(stack))
    assert_up_goes_on(stack)


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(
            "boot: load",
            marks=pytest.mark.fault(
                "Ctrl-C, SIGTERM or SIGKILL while the engine boots",
                "the engine boots on; the same command follows that boot, and the boot is on record",
            ),
        ),
        pytest.param(
            "warm: first request",
            marks=pytest.mark.fault(
                "Ctrl-C, SIGTERM or SIGKILL while the engine is warmed", "the same command warms and tests it"
            ),
        ),
        pytest.param(
            "warm: done",
            marks=pytest.mark.fault(
                "Ctrl-C, SIGTERM or SIGKILL while the boot is recorded",
                "the history and the lock stay whole; the same command records what is missing",
            ),
        ),
        pytest.param(
            "smoke: running",
            marks=pytest.mark.fault(
                "Ctrl-C, SIGTERM or SIGKILL during the smoke test", "no verdict is recorded; the same command tests"
            ),
        ),
    ],
)
def test_up_ends_after_the_engine_was_started(stack: Stack, said: str) -> None:
    end_three_times(stack, lambda up: up.wait_said(said))
    if said.startswith("boot"):
        outcomes = read_history(stack, "SELECT outcome FROM boots ORDER BY id")
        assert (outcomes[0], outcomes[2]) == ("interrupted", "interrupted")
    assert_up_goes_on(stack)
    # It was one and the same start of the engine, which nobody disturbed.
    assert read_history(stack, "SELECT count(DISTINCT started_at) FROM boots") == [1]


@dataclass
class SlowHub:
    """A hub that gives a model's weights only when the gate opens."""

    hub: FakeHub
    gate: threading.Event

    def close_gate(self) -> None:
        self.gate.set()
        self.gate = threading.Event()
        self.hub.faults.clear()
        self.hub.hold("/storage/", self.gate)

    def open_gate(self) -> None:
        self.gate.set()
        self.hub.faults.clear()


@pytest.fixture
def slow_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowHub]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    with contextmanager(run_hub)() as hub:
        hub.add_model("acme/tiny", build_model_files())
        yield SlowHub(hub, threading.Event())


@pytest.mark.fault(
    "Ctrl-C, SIGTERM or SIGKILL while the model is fetched",
    "what came stays on the shared volume, apart from whole models; the same command fetches the rest",
)
def test_up_ends_while_the_model_is_fetched(
    make_stack: Callable[..., Stack], fake_engine: str, slow_hub: SlowHub, tmp_path: Path
) -> None:
    config = render_config(fake_engine).replace(
        'id = "./model"', f'id = "acme/tiny"\nendpoint = "{slow_hub.hub.endpoint}"'
    )
    stack = make_stack("fetches", config, data=tmp_path / "data")
    end_three_times(stack, lambda up: up.wait_said("\nmodel acme/tiny: "), slow_hub.close_gate)
    assert stack.containers() == {}
    assert list((stack.data / "stack" / "models").glob("hub/*/*/*")) == []
    slow_hub.open_gate()
    assert_up_goes_on(stack)
    stack.run("warm", "--verify").demand()


@pytest.fixture
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    if shutil.which("docker-registry") is None:
        pytest.skip("needs a real registry: apt-get install docker-registry")
    made = Registry(tmp_path_factory.mktemp("registry"))
    yield made
    made.stop()


@pytest.mark.fault(
    "Ctrl-C, SIGTERM or SIGKILL while an image is pulled",
    "Docker keeps the layers that came; the same command pulls the rest",
)
def test_up_ends_while_an_image_is_pulled(
    registry: Registry, make_stack: Callable[..., Stack], fake_engine: str
) -> None:
    registry.push(fake_engine, "acme/engine:1")
    stack = build_small_stack(make_stack, "pulls", render_config(f"{registry.host}/acme/engine:1"))
    assert registry.process is not None
    registry.process.send_signal(signal.SIGSTOP)
    try:
        end_three_times(stack, lambda up: up.wait_said("image engine: pull"))
    finally:
        registry.process.send_signal(signal.SIGCONT)
    assert stack.containers() == {}
    assert_up_goes_on(stack)
    stack.run("down").demand()
    registry.forget()
