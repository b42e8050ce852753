"""Compare what an engine answered with what was answered before. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from stack.traffic.engine_answers import ScoredToken
from stack.traffic.record import Record, RecordedResponse

Verdict = Literal["equal", "near tie", "differs", "failed", "not compared"]


class Parting(Protocol):
    """Where two token sequences part: the first position that differs, how near a tie, and whether that is fine."""

    @property
    def index(self) -> int | None: ...

    @property
    def gap_nats(self) -> float | None: ...

    @property
    def is_fine(self) -> bool: ...


Rule = Callable[[Sequence[ScoredToken], Sequence[ScoredToken]], Parting]


@dataclass(frozen=True)
class Comparison:
    """One record's two answers.

    Attributes:
        custom_id: The record's name.
        verdict: The class.
        reasons: What differs, or why nothing could be compared; never a prompt's or an answer's text.
        token_index: The first token that differs, from 0.
        gap_nats: How far apart the two tokens were there; None when neither side tells.
        expected: The earlier answer, or None.
        observed: The answer now, or None where the record was not sent.
    """

    custom_id: str
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    token_index: int | None = None
    gap_nats: float | None = None
    expected: RecordedResponse | None = None
    observed: RecordedResponse | None = None


@dataclass(frozen=True)
class ComparisonReport:
    """All records' comparisons."""

    comparisons: tuple[Comparison, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Give how many records are in each class."""
        raise NotImplementedError

    @property
    def is_passed(self) -> bool:
        """Tell whether nothing differs and nothing failed."""
        raise NotImplementedError


def compare_record(
    record: Record, expected: RecordedResponse | None, observed: RecordedResponse | None, rule: Rule
) -> Comparison:
    """Compare two answers to one record; `rule` tells a near tie from a difference."""
    raise NotImplementedError


def compare(
    records: Sequence[Record],
    expected: Sequence[RecordedResponse | None],
    observed: Sequence[RecordedResponse | None],
    rule: Rule,
) -> ComparisonReport:
    """Compare two runs of the same records, position by position."""
    raise NotImplementedError
