"""Send records to an engine and note what comes back, and when."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from stack.traffic.record import Record, RecordedResponse
from stack.traffic.schedule import Schedule


@dataclass(frozen=True)
class Observation:
    """What one sending gave.

    Attributes:
        index: The record's position in its file.
        custom_id: The record's name.
        response: What came back.
        sent_seconds: When it was sent, from the beginning of the replay.
        due_seconds: When it was due; None where it was sent as soon as there was room.
        itl_seconds: Times between streamed tokens.
    """

    index: int
    custom_id: str
    response: RecordedResponse
    sent_seconds: float
    due_seconds: float | None = None
    itl_seconds: Sequence[float] = field(default=())

    @property
    def lag_seconds(self) -> float | None:
        """Give how late it was sent."""
        return None if self.due_seconds is None else max(0.0, self.sent_seconds - self.due_seconds)


@dataclass(frozen=True)
class ReplayTarget:
    """The engine that records are sent to, and what may be changed in them on the way.

    Attributes:
        base_url: Where the engine listens, without `/v1`.
        api_key: The key's text, if the engine demands one.
        served_model: The model name for bodies that name one which is not in `known_models`; None: none is changed.
        known_models: Names that are sent as they are.
        asks_scores: Whether log-probabilities and token counts are asked for where that changes no answer.
        timeout_seconds: For a whole answer.
    """

    base_url: str
    api_key: str | None = None
    served_model: str | None = None
    known_models: frozenset[str] = frozenset()
    asks_scores: bool = True
    timeout_seconds: float = 600.0


def replay(
    target: ReplayTarget,
    records: Sequence[Record],
    *,
    schedule: Schedule | None = None,
    take: Callable[[Observation], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> list[Observation]:
    """Send records and give what came back, in the order of the records.

    Args:
        target: The engine.
        records: What to send.
        schedule: When; None chooses by the records' offsets, and without them one after another.
        take: Takes each observation as it comes; then none is kept, and the list is empty.
        clock: Monotonic seconds.
        sleep: Waits.
    """
    raise NotImplementedError
