"""When the records of a file are sent: as recorded, so many at a time, or one after another. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

DEGRADED_LAG_SECONDS = 0.5
"""Beyond this at p99 the replay was not what was asked for. Source: aiperf's `replay_sched_lag`."""


@dataclass(frozen=True)
class Schedule:
    """The order and the times of a replay.

    Attributes:
        kind: `as recorded`, `closed loop` or `one after another`.
        order: Positions of the records, in the order of sending.
        due_seconds: When each of `order` is due, from the beginning; None: as soon as there is room.
        concurrency: How many may be under way at once; None: as many as are due.
    """

    kind: str
    order: Sequence[int]
    due_seconds: Sequence[float] | None = None
    concurrency: int | None = None


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
        return Schedule(kind, range(len(offsets)), None, concurrency)
    known = [(offset, index) for index, offset in enumerate(offsets) if offset is not None]
    if not known:
        return Schedule("one after another", range(len(offsets)), None, 1)
    if len(known) < len(offsets):
        missing = next(index for index, offset in enumerate(offsets) if offset is None)
        raise ValueError(f"{len(known)} of {len(offsets)} records have an offset, record {missing + 1} has none")
    known.sort()
    first = known[0][0]
    due = array("d", ((offset - first) / speed for offset, _ in known))
    return Schedule("as recorded", array("q", (index for _, index in known)), due)
