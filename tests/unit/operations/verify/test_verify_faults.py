"""What was killed must come back as it was; what does not is told."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest

from stack.errors import NotReadyError, NotRunningError
from stack.operations.verify import faults as verify_faults
from stack.operations.verify.faults import kill_engine, kill_prometheus
from stack.operations.verify.steps import Chain
from stack.traffic.engine_answers import ScoredToken


class World:
    """A daemon that starts again what was killed, an engine that answers and a Prometheus that remembers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.killed: list[tuple[str, tuple[str, ...]]] = []
        self.was_restarted = self.was_followed = False
        self.comes_back = self.has_series = True
        self.answers = itertools.cycle([("Paris", 0.0)])
        self.counts = itertools.cycle([100.0])
        self.services = {name: self._state(name) for name in ("engine", "prometheus")}
        for name, value in {
            "read_status": lambda session: self.status(),
            "read_services": lambda client, project: self._look(),
            "kill_processes": lambda client, found, names, before="": self.killed.append((found, names)),
            "restart_container": lambda client, found: setattr(self, "was_restarted", True),
            "run_up": lambda session: setattr(self, "was_followed", True),
            "build_engine": lambda session, port, name: self,
            "PrometheusApi": lambda http, url: self,
        }.items():
            monkeypatch.setattr(verify_faults, name, value)
        clock = itertools.count(step=7.0)
        times = SimpleNamespace(monotonic=lambda: float(next(clock)), time=lambda: 1_000_000.0)
        monkeypatch.setattr(verify_faults, "time", times)

    def _state(self, name: str, restarts: int = 0) -> Any:
        return SimpleNamespace(name=name, container_id=name, state="running", restart_count=restarts)

    def _look(self) -> dict[str, Any]:
        dead = {found for found, _ in self.killed} if self.comes_back else set()
        return {name: self._state(name, restarts=int(name in dead)) for name in self.services}

    def status(self) -> Any:
        ports = {"engine": 8000, "prometheus": 9090}
        return SimpleNamespace(is_serving="engine" in self.services, states=self.services, ports=ports, served_name="x")

    def run_completion(self, prompt: str, **options: Any) -> Any:
        token, rival = next(self.answers)
        return SimpleNamespace(tokens=(ScoredToken(token, -0.1, {token: -0.1, "other": -0.1 - rival}),))

    def close(self) -> None:
        pass

    def is_ready(self) -> bool:
        return True

    def fetch_targets(self) -> list[Any]:
        return [SimpleNamespace(health="up")]

    def query(self, expr: str, *, at_seconds: float) -> list[Any]:
        return [SimpleNamespace(labels={"job": "vllm"}, value=next(self.counts))] if self.has_series else []


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


@pytest.fixture
def chain() -> Chain:
    session: Any = SimpleNamespace(
        project="demo", connect=lambda: None, say=lambda text: None, report=lambda event: None
    )
    return Chain(session, None, was_serving=True, sleep=lambda seconds: None)


def test_an_engine_that_answers_as_before_passes_after_its_boot_was_followed(world: World, chain: Chain) -> None:
    outcome = kill_engine(chain)
    assert outcome.status == "pass", outcome
    assert "the same text" in outcome.message
    assert world.was_followed and [found for found, _ in world.killed] == ["engine"]


def test_an_engine_that_answers_otherwise_fails_unless_it_was_undecided(world: World, chain: Chain) -> None:
    world.answers = iter([("Paris", 5.0), ("Rome", 5.0)])
    outcome = kill_engine(chain)
    assert (outcome.status, "answers otherwise" in outcome.message) == ("fail", True)


def test_what_docker_does_not_start_again_is_told(world: World, chain: Chain) -> None:
    world.comes_back = False
    with pytest.raises(NotReadyError, match="did not come back after it was killed"):
        kill_engine(chain)
    assert not world.was_followed


def test_nothing_is_killed_where_no_engine_runs(world: World, chain: Chain) -> None:
    del world.services["engine"]
    with pytest.raises(NotRunningError):
        kill_engine(chain)
    assert world.killed == []


def test_a_prometheus_that_comes_back_with_its_series_passes_and_counts_no_restart(world: World, chain: Chain) -> None:
    outcome = kill_prometheus(chain)
    assert (outcome.status, world.was_restarted) == ("pass", True)
    assert outcome.message.endswith("all 100 series are there")


def test_a_prometheus_that_lost_series_fails(world: World, chain: Chain) -> None:
    world.counts = iter([100.0, 99.0])
    assert kill_prometheus(chain).status == "fail"


def test_a_prometheus_that_scrapes_nothing_is_not_killed(world: World, chain: Chain) -> None:
    world.has_series = False
    with pytest.raises(NotReadyError, match="scraped nothing yet"):
        kill_prometheus(chain)
    assert world.killed == []


def test_a_young_prometheus_is_waited_for(world: World) -> None:
    world.has_series = False
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        world.has_series = len(naps) == 2

    session: Any = SimpleNamespace(
        project="demo", connect=lambda: None, say=lambda text: None, report=lambda event: None
    )
    assert kill_prometheus(Chain(session, None, was_serving=True, sleep=sleep)).status == "pass"
    assert len(naps) == 2 and world.killed


def test_a_stack_without_prometheus_skips_its_fault(world: World, chain: Chain) -> None:
    del world.services["prometheus"]
    assert kill_prometheus(chain).status == "skip"
    assert world.killed == []
