"""The chain: what fails keeps back only what needs it, and what ends it is told with what had run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from stack.checks.finding import Outcome
from stack.cli.verify import PRESETS, STEP_NAMES
from stack.errors import CommandError, NotReadyError, ServiceApiError
from stack.operations.verify import run as verify
from stack.operations.verify.page import tell_verify
from stack.operations.verify.report import render_lines
from stack.operations.verify.run import VerifyOptions
from stack.operations.verify.steps import STEPS, Chain, Step
from stack.traffic.bench_load import PRESETS as BENCH_PRESETS

PASS = Outcome("pass", "well")


@dataclass
class World:
    """What runs, and what was told of it."""

    is_serving: bool = False
    said: list[str] = field(default_factory=list)
    was_taken_down: bool = False
    down_trouble: BaseException | None = None
    noted: list[Any] = field(default_factory=list)

    def read(self, session: Any) -> Any:
        engine = SimpleNamespace(commit="c" * 40, commit_level="verified", version="0.32.0")
        return SimpleNamespace(is_serving=self.is_serving, boot=None, engine=engine, served_name="demo")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World()

    def take_down(session: Any, *, volumes: bool) -> None:
        assert not volumes
        if world.down_trouble is not None:
            raise world.down_trouble
        world.was_taken_down = True

    def note(session: Any, status: Any, started: Any, document: dict[str, Any]) -> int:
        world.noted.append(document)
        return 7

    monkeypatch.setattr(verify, "read_status", world.read)
    monkeypatch.setattr(verify, "run_down", take_down)
    monkeypatch.setattr(verify, "_note", note)
    monkeypatch.setattr(verify, "annotate_run", lambda session, **_: world.said.append("annotated"))
    yield world


def build_step(
    name: str, result: Outcome | BaseException = PASS, *, needs: tuple[str, ...] = ("up",), **more: Any
) -> Step:
    def act(chain: Chain) -> Outcome:
        if isinstance(result, BaseException):
            raise result
        return result

    return Step(name, name, act, needs=() if name == "up" else needs, **more)


@pytest.fixture
def run(world: World) -> Callable[..., dict[str, Any]]:
    def call(*steps: Step, **options: Any) -> dict[str, Any]:
        session: Any = SimpleNamespace(project="demo", say=world.said.append, report=lambda event: None)
        return verify.run(session, VerifyOptions(**options), steps)

    return call


def statuses(document: dict[str, Any]) -> dict[str, str]:
    return {check["check"]: check["status"] for check in document["checks"]}


def test_the_command_knows_every_step_by_its_name() -> None:
    assert tuple(step.name for step in STEPS) == STEP_NAMES


def test_the_command_knows_presets_of_the_bench() -> None:
    assert set(PRESETS) < set(BENCH_PRESETS)


def test_every_step_needs_only_what_runs_before_it() -> None:
    for place, step in enumerate(STEPS):
        assert set(step.needs) <= {earlier.name for earlier in STEPS[:place]}


def test_the_document_begins_with_the_commit_and_is_kept(run: Callable[..., Any], world: World) -> None:
    document = run(build_step("up"), build_step("smoke"))
    assert list(document)[:2] == ["schema_version", "commit"]
    assert (document["commit"], document["is_passed"], document["exit_code"], document["run"]) == ("c" * 40, True, 0, 7)
    assert len(world.noted) == 1 and "annotated" in world.said
    assert render_lines(document)[0] == f"vLLM commit {'c' * 40} (verified)"
    assert tell_verify(world.noted[0]).summary == "2 steps in 0 s: 2 passed"


def test_a_check_that_fails_keeps_nothing_back_and_ends_with_1(run: Callable[..., Any]) -> None:
    document = run(build_step("up"), build_step("smoke", Outcome("fail", "wrong")), build_step("bench"))
    assert statuses(document) == {"up": "pass", "smoke": "fail", "bench": "pass"}
    assert (document["is_passed"], document["exit_code"]) == (False, 1)


def test_an_engine_that_does_not_come_up_ends_with_5_and_keeps_back_what_needs_it(run: Callable[..., Any]) -> None:
    lost = NotReadyError("engine", 60, "running", "no answer")
    document = run(build_step("up", lost), build_step("smoke"), build_step("other", needs=()))
    assert statuses(document) == {"up": "fail", "smoke": "skip", "other": "pass"}
    assert document["checks"][1]["message"] == "not run, as `up` did not pass"
    assert document["exit_code"] == 5


def test_what_cannot_be_done_ends_with_its_own_code(run: Callable[..., Any]) -> None:
    document = run(
        build_step("up"), build_step("bench", ServiceApiError("engine", "http://x", "no")), build_step("more")
    )
    assert (statuses(document)["more"], document["exit_code"]) == ("pass", 6)


def test_a_check_that_failed_decides_the_code_whatever_could_not_be_done_before_it(run: Callable[..., Any]) -> None:
    lost = ServiceApiError("engine", "http://x", "no")
    failed = Outcome("fail", "wrong")
    assert run(build_step("up"), build_step("bench", lost), build_step("more", failed))["exit_code"] == 1
    later = NotReadyError("engine", 60, "running", "no answer")
    assert run(build_step("up"), build_step("bench", lost), build_step("more", later))["exit_code"] == 6


@pytest.mark.parametrize(
    ("trouble", "code", "message"),
    [(CommandError(["docker"], 1, message="no daemon"), 4, "no daemon (exit status 1)"),
     (KeyboardInterrupt(), 130, "interrupted")],
)  # fmt: skip
def test_a_stack_that_cannot_be_taken_down_is_a_finding(
    run: Callable[..., Any], world: World, trouble: BaseException, code: int, message: str
) -> None:
    world.down_trouble = trouble
    document = run(build_step("up"), build_step("smoke"), takes_down=True)
    assert statuses(document) == {"up": "pass", "smoke": "pass", "down": "fail"}
    assert (document["checks"][-1]["message"], document["exit_code"]) == (message, code)
    assert (document["was_taken_down"], document["is_passed"], world.noted) == (False, False, [document])


def test_an_interrupted_run_is_taken_down_all_the_same(run: Callable[..., Any], world: World) -> None:
    document = run(build_step("up", KeyboardInterrupt()), takes_down=True)
    assert (world.was_taken_down, document["exit_code"]) == (True, 130)


def test_an_interrupt_tells_what_had_run(run: Callable[..., Any], world: World) -> None:
    document = run(build_step("up"), build_step("smoke", KeyboardInterrupt()), build_step("bench"))
    assert [check["message"] for check in document["checks"]] == [
        "well",
        "interrupted",
        "not run: it was interrupted before",
    ]
    assert (document["is_interrupted"], document["exit_code"], len(world.noted)) == (True, 130, 1)


@pytest.mark.parametrize(
    ("was_serving", "faults", "status"),
    [(False, None, "pass"), (True, None, "skip"), (True, True, "pass"), (False, False, "skip")],
)
def test_only_what_it_brought_up_is_broken_unasked(
    run: Callable[..., Any], world: World, was_serving: bool, faults: bool | None, status: str
) -> None:
    world.is_serving = was_serving
    assert statuses(run(build_step("up"), build_step("kill", is_fault=True), faults=faults))["kill"] == status


def test_a_step_that_is_left_out_on_request_keeps_nothing_back(run: Callable[..., Any]) -> None:
    document = run(build_step("up"), build_step("smoke"), skip=frozenset({"up"}))
    assert statuses(document) == {"up": "skip", "smoke": "pass"}


@pytest.mark.parametrize("was_serving", [False, True])
def test_only_what_it_brought_up_is_taken_down(run: Callable[..., Any], world: World, was_serving: bool) -> None:
    world.is_serving = was_serving
    document = run(build_step("up"), takes_down=True)
    assert world.was_taken_down is document["was_taken_down"] is not was_serving
