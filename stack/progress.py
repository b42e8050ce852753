"""What a long step says while it runs, as data: rooms report, the console draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

State = Literal["running", "done", "failed", "skipped"]


@dataclass(frozen=True)
class ProgressEvent:
    """One report of a long step.

    Attributes:
        task: A name that stays the same for the whole step, shown first (`pull prom/prometheus`).
        text: What it is doing now, or how it ended.
        completed_bytes: Bytes done so far, where bytes are what the step moves.
        total_bytes: Bytes in all, where that is known.
        state: `running` until the last report of the task.
    """

    task: str
    text: str = ""
    completed_bytes: int | None = None
    total_bytes: int | None = None
    state: State = "running"


Report = Callable[[ProgressEvent], None]


def ignore(event: ProgressEvent) -> None:
    """Take a report and show nothing (tests, quiet callers)."""
