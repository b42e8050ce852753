"""When each step of an `up` ran, and as bars of text: what overlapped is seen at a glance."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

_WIDTH = 32
# Below this a bar says nothing that the numbers do not.
_WORTH_DRAWING_SECONDS = 0.05


@dataclass(frozen=True)
class StepTime:
    """When one step ran.

    Attributes:
        step: Its name in the plan.
        started_seconds: When it started, since `up` began to work on the project.
        seconds: How long it took, also where it failed.
    """

    step: str
    started_seconds: float
    seconds: float


@dataclass
class Timeline:
    """Takes the time of steps, from any thread.

    Attributes:
        clock: Seconds that only grow; the timeline begins when it is made.
    """

    clock: Callable[[], float] = time.monotonic
    _taken: list[StepTime] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._began = self.clock()

    @contextmanager
    def measure(self, step: str) -> Iterator[None]:
        """Take the time of a step; a decorator too."""
        started = self.clock()
        try:
            yield
        finally:
            self._taken.append(StepTime(step, started - self._began, self.clock() - started))

    @property
    def steps(self) -> list[StepTime]:
        """Give what ended so far, in the order in which it started."""
        return sorted(self._taken, key=lambda taken: (taken.started_seconds, taken.seconds))


def build_timeline(steps: Sequence[StepTime]) -> list[dict[str, Any]]:
    """Give the steps as JSON says them, to the millisecond."""
    return [
        {
            "step": step.step,
            "started_seconds": round(step.started_seconds, 3),
            "seconds": round(step.seconds, 3),
        }
        for step in steps
    ]


def render_timeline(steps: Sequence[StepTime], width: int = _WIDTH) -> list[str]:
    """Give a line a step: name, bar, from when to when.

    Units: width in characters, for the whole time.
    """
    drawn = [step for step in steps if step.seconds >= _WORTH_DRAWING_SECONDS]
    end = max((step.started_seconds + step.seconds for step in drawn), default=0.0)
    longest = max((len(step.step) for step in drawn), default=0)
    lines = []
    for step in drawn:
        stop = step.started_seconds + step.seconds
        first = min(round(step.started_seconds / end * width), width - 1)
        bar = " " * first + "=" * max(1, round(stop / end * width) - first)
        lines.append(f"{step.step.ljust(longest)}  {bar.ljust(width)}  {step.started_seconds:.1f}-{stop:.1f} s")
    return lines
