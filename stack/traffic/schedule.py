"""When the records of a file are sent: as recorded, so many at a time, or one after another. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

DEGRADED_LAG_SECONDS = 0.5
"""Beyond this at p99 the replay was not what was asked for. Source: aiperf's `replay_sched_lag`."""


@dataclass(frozen=True)
class Planned:
    """One sending.

    Attributes:
        index: The record's position in its file.
        due_seconds: When it is due, from the beginning of the replay; None: as soon as there is room.
    """

    index: int
    due_seconds: float | None


@dataclass(frozen=True)
class Schedule:
    """The order and the times of a replay.

    Attributes:
        kind: `as recorded`, `closed loop` or `one after another`.
        planned: What is sent, in the order of sending.
        concurrency: How many may be under way at once; None: as many as are due.
    """

    kind: str
    planned: Sequence[Planned]
    concurrency: int | None


def build_schedule(offsets: Sequence[float | None], *, speed: float = 1.0, concurrency: int | None = None) -> Schedule:
    """Choose the schedule of records with these offsets.

    Args:
        offsets: Each record's arrival, in the order of the file.
        speed: 2 sends twice as fast as recorded.
        concurrency: So many at a time in the order of the file, whatever the offsets.

    Raises:
        ValueError: Some records have an offset and some have none.
    """
    if concurrency is not None:
        kind = "one after another" if concurrency == 1 else "closed loop"
        return Schedule(kind, [Planned(index, None) for index in range(len(offsets))], concurrency)
    known = [(offset, index) for index, offset in enumerate(offsets) if offset is not None]
    if not known:
        return Schedule("one after another", [Planned(index, None) for index in range(len(offsets))], 1)
    if len(known) < len(offsets):
        missing = next(index for index, offset in enumerate(offsets) if offset is None)
        raise ValueError(f"{len(known)} of {len(offsets)} records have an offset; record {missing + 1} has none")
    known.sort()
    first = known[0][0]
    return Schedule("as recorded", [Planned(index, (offset - first) / speed) for offset, index in known], None)
