"""The plan as text, and its execution: order and parallelism are shown by events, never by time."""

from __future__ import annotations

import threading

import pytest

from stack.errors import ImageError, ModelError
from stack.operations.up.plan import Plan, Step, StepsFailedError, render_plan, run_plan

PLAN = Plan(
    (
        Step("image base", "make localhost/stack/base:bookworm-01", "images are built from packages"),
        Step("image engine", "build stack/engine:cpu-02", "no image of that recipe is here", ("image base",)),
        Step("model", "fetch acme/tiny", "its files are not on the shared volume"),
        Step("page cache", "read the weights into memory", "the engine is about to load them", ("model",)),
        Step("services", "start engine", "engine is not running", ("image engine", "page cache")),
        Step("boot", "wait for the first token", "the engine is started", ("services", "not planned")),
    )
)  # fmt: skip
TEXT = """\
#1 image base: make localhost/stack/base:bookworm-01, because images are built from packages
#2 image engine: build stack/engine:cpu-02 after #1, because no image of that recipe is here
#3 model: fetch acme/tiny, because its files are not on the shared volume
#4 page cache: read the weights into memory after #3, because the engine is about to load them
#5 services: start engine after #2, #4, because engine is not running
#6 boot: wait for the first token after #5, because the engine is started"""
WAIT_SECONDS = 30


def test_a_plan_is_read_as_text():
    assert render_plan(PLAN) == TEXT


def test_an_empty_plan_says_that_nothing_is_to_do():
    assert render_plan(Plan(())) == "nothing to do: everything is as the configuration wants it"


def test_a_plan_knows_its_steps():
    assert PLAN.has("model")
    assert not PLAN.has("image grafana")


def test_every_step_runs_after_those_that_it_waits_for():
    order = []
    run_plan(PLAN.steps, {step.name: lambda name=step.name: order.append(name) for step in PLAN.steps})
    assert sorted(order) == sorted(step.name for step in PLAN.steps)
    for step in PLAN.steps:
        for name in step.after:
            assert name not in order or order.index(name) < order.index(step.name)


def test_steps_that_do_not_wait_for_one_another_run_side_by_side():
    # Each comes through only when the others are under way as well.
    meeting = threading.Barrier(3, timeout=WAIT_SECONDS)
    steps = [Step(name, "do", "why") for name in ("a", "b", "c")]
    run_plan(steps, {step.name: meeting.wait for step in steps})
    assert not meeting.broken


def test_no_more_steps_run_at_once_than_there_are_workers():
    free = threading.Semaphore(2)
    crowded = []

    def act():
        crowded.append(not free.acquire(blocking=False))
        free.release()

    steps = [Step(str(number), "do", "why") for number in range(20)]
    run_plan(steps, {step.name: act for step in steps}, workers=2)
    assert crowded == [False] * 20


def fail(error):
    def act():
        raise error

    return act


def test_the_failure_of_one_step_is_told_as_it_is_and_the_others_end():
    slow_ended, failed = threading.Event(), threading.Event()

    def act_slowly():
        assert failed.wait(WAIT_SECONDS)
        slow_ended.set()

    def act_badly():
        failed.set()
        raise ImageError("the registry does not answer", hint="try again", detail="log")

    with pytest.raises(ImageError) as caught:
        run_plan([Step("a", "", ""), Step("b", "", "")], {"a": act_badly, "b": act_slowly})
    assert slow_ended.is_set()
    assert (caught.value.message, caught.value.hint) == ("the registry does not answer", "try again")


def test_one_failure_does_not_hide_another():
    steps = [Step("image engine", "", ""), Step("model", "", ""), Step("image grafana", "", "")]
    actions = {
        "image engine": fail(ImageError("no digest", hint="reach the registry", detail="GET /v2")),
        "model": fail(ModelError("the disk is full", hint="make room")),
        "image grafana": lambda: None,
    }
    with pytest.raises(StepsFailedError) as caught:
        run_plan(steps, actions)
    err = caught.value
    assert sorted(err.message.splitlines()) == ["image engine: no digest", "model: the disk is full"]
    assert set(err.failures) == {"image engine", "model"}
    first = next(iter(err.failures.values()))
    assert (err.exit_code, err.hint) == (first.exit_code, first.hint)
    assert err.detail == "image engine:\nGET /v2"


def test_what_waits_for_a_failed_step_is_held_back_and_so_is_what_waits_for_that():
    ran = []
    steps = [Step("a", "", ""), Step("b", "", "", ("a",)), Step("c", "", "", ("b",)), Step("d", "", "")]
    actions = {name: (lambda name=name: ran.append(name)) for name in "bcd"}
    with pytest.raises(ImageError, match="gone"):
        run_plan(steps, actions | {"a": fail(ImageError("gone"))})
    assert ran == ["d"]


def test_a_step_waits_for_nothing_that_is_not_in_the_plan():
    ran = []
    run_plan([Step("boot", "", "", ("services",))], {"boot": lambda: ran.append("boot")})
    assert ran == ["boot"]


def test_an_interrupt_waits_for_nobody_and_starts_nothing_more():
    release, started, ended = threading.Event(), threading.Event(), threading.Event()
    ran = []

    def hang():
        started.set()
        release.wait(WAIT_SECONDS)
        ended.set()

    def interrupt():
        assert started.wait(WAIT_SECONDS)
        raise KeyboardInterrupt

    steps = [Step("slow", "", ""), Step("c-c", "", ""), Step("next", "", "", ("slow",))]
    try:
        with pytest.raises(KeyboardInterrupt):
            run_plan(steps, {"slow": hang, "c-c": interrupt, "next": lambda: ran.append("next")})
        assert not ended.is_set()
    finally:
        release.set()
    assert ended.wait(WAIT_SECONDS)
    assert ran == []


def test_a_bug_of_ours_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run_plan([Step("a", "", "")], {"a": lambda: 1 / 0})


def test_no_steps_are_done_at_once():
    run_plan([], {})
