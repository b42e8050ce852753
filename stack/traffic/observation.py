"""What a replay is aimed at, how far it is, and what each sending gave, as data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from stack.traffic.record import RecordedResponse


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
        is_plain: Whether nothing was added to the body (or was and the engine refused it).
    """

    index: int
    custom_id: str
    response: RecordedResponse
    sent_seconds: float
    due_seconds: float | None = None
    itl_seconds: Sequence[float] = field(default=())
    is_plain: bool = True

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
    api_key: str | None = field(default=None, repr=False)
    served_model: str | None = None
    known_models: frozenset[str] = frozenset()
    asks_scores: bool = True
    timeout_seconds: float = 600.0


@dataclass
class ReplayState:
    """How far a replay is; read it from any thread.

    Attributes:
        total: Records to send.
        sent: Requests that were sent.
        ended: Requests that came to an end.
        renamed: Model names that others were put in the place of, with the number of requests.
        gave_up: Whether the engine was gone and the rest was not sent.
    """

    total: int = 0
    sent: int = 0
    ended: int = 0
    renamed: Counter[str] = field(default_factory=Counter)
    gave_up: bool = False
