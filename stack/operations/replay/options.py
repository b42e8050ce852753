"""What a replay is asked to do, and the schedule that this makes of a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stack.errors import TraceError
from stack.traffic.record_file import RecordFile
from stack.traffic.schedule import Schedule, build_schedule


@dataclass(frozen=True)
class ReplayOptions:
    """What was asked for.

    Attributes:
        path: The file of records.
        speed: 2 sends twice as fast as recorded; None: as fast.
        concurrency: So many at a time instead of as recorded; None: by the file.
        served_model: Every request's model name; None: only names that are not served here are replaced.
        asks_scores: Whether scores and token counts are asked for where that changes no answer.
        timeout_seconds: For a whole answer.
        max_latency_ratio: A slower median answer is a difference; None: latency is told, not judged.
        save_path: Where records and answers are written, or None.
        with_texts: Whether the report shows answers' texts.
    """

    path: Path
    speed: float | None = None
    concurrency: int | None = None
    served_model: str | None = None
    asks_scores: bool = True
    timeout_seconds: float = 600.0
    max_latency_ratio: float | None = None
    save_path: Path | None = None
    with_texts: bool = False


def build_replay_schedule(options: ReplayOptions, records: RecordFile) -> Schedule:
    """Give when each record of the file is sent.

    Raises:
        TraceError: It cannot be as was asked.
    """
    try:
        schedule = build_schedule(records.offsets, speed=options.speed or 1.0, concurrency=options.concurrency)
        if options.speed is not None and schedule.due_seconds is None:
            raise ValueError("no record has an offset, so that there is no speed to change")
    except ValueError as err:
        raise TraceError(
            f"{options.path}: {err}", hint="`--concurrency 1` sends them one after another, whatever the offsets"
        ) from err
    return schedule


def describe_schedule(schedule: Schedule, options: ReplayOptions) -> str:
    """Say when they are sent, in words."""
    if schedule.due_seconds is not None:
        return "as recorded" + (f", {options.speed:g} times as fast" if options.speed else "")
    return schedule.kind if schedule.concurrency == 1 else f"{schedule.concurrency} at a time"
