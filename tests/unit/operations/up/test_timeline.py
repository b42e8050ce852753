"""The times of steps: with a clock that is set by hand, and with steps that really run side by side."""

from __future__ import annotations

import threading

import pytest

from stack.errors import ImageError
from stack.operations.up.plan import Step, run_plan
from stack.operations.up.timeline import StepTime, Timeline, build_timeline, render_timeline

WAIT_SECONDS = 30


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_a_step_is_told_with_its_start_and_its_time():
    clock = Clock()
    timeline = Timeline(clock)
    clock.now += 0.5
    with timeline.measure("model"):
        clock.now += 2.0
    assert timeline.steps == [StepTime("model", 0.5, 2.0)]


def test_a_step_that_failed_has_its_time_too():
    clock = Clock()
    timeline = Timeline(clock)
    with pytest.raises(ImageError), timeline.measure("image engine"):
        clock.now += 3.0
        raise ImageError("gone")
    assert timeline.steps == [StepTime("image engine", 0.0, 3.0)]


def test_steps_that_do_not_wait_for_one_another_overlap_and_the_others_do_not():
    timeline = Timeline()
    # The image and the model come through only together; the services only after both.
    meeting = threading.Barrier(2, timeout=WAIT_SECONDS)
    names = {"image engine": meeting.wait, "model": meeting.wait, "services": lambda: None}
    steps = [Step("image engine", "", ""), Step("model", "", ""), Step("services", "", "", ("image engine", "model"))]
    run_plan(steps, {name: timeline.measure(name)(act) for name, act in names.items()})
    took = {step.step: (step.started_seconds, step.started_seconds + step.seconds) for step in timeline.steps}
    assert max(took["image engine"][0], took["model"][0]) < min(took["image engine"][1], took["model"][1])
    assert took["services"][0] >= max(took["image engine"][1], took["model"][1])


def test_bars_show_what_overlapped():
    steps = [
        StepTime("image engine", 0.0, 8.0),
        StepTime("model", 0.0, 4.0),
        StepTime("page cache", 4.0, 1.0),
        StepTime("services", 8.0, 2.0),
        StepTime("boot", 10.0, 6.0),
    ]
    assert "\n".join(render_timeline(steps, width=16)) == (
        "image engine  ========          0.0-8.0 s\n"
        "model         ====              0.0-4.0 s\n"
        "page cache        =             4.0-5.0 s\n"
        "services              ==        8.0-10.0 s\n"
        "boot                    ======  10.0-16.0 s"
    )


def test_a_short_step_has_a_bar_and_one_of_no_time_no_line():
    steps = [StepTime("model", 0.0, 100.0), StepTime("page cache", 100.0, 0.06), StepTime("services", 100.06, 0.01)]
    lines = render_timeline(steps, width=8)
    assert [line.split("  ")[0] for line in lines] == ["model", "page cache"]
    assert lines[1] == "page cache         =  100.0-100.1 s"
    assert render_timeline([]) == []


def test_a_document_tells_milliseconds():
    assert build_timeline([StepTime("boot", 0.12345, 7.0)]) == [
        {"step": "boot", "started_seconds": 0.123, "seconds": 7.0}
    ]
