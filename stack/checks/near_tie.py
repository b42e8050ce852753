"""Whether two greedy texts that differ parted where the model itself was undecided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

# A logit of 16 to 32 in bfloat16 moves in steps of 0.125, so two roundings of one value may lie 0.25 apart,
# and another batch size or kernel takes other roundings. SmolLM2-135M, eager against compiled: 0.12 becomes
# 0.
NEAR_TIE_NATS = 0.3


class Scored(Protocol):
    """A generated token with its score and the likeliest tokens at its position."""

    token: str
    logprob: float
    top: Mapping[str, float]


@dataclass(frozen=True)
class Parting:
    """Where two token sequences part.

    Attributes:
        index: The first position that differs, or None when the sequences are the same.
        gap_nats: How far apart the two tokens were at that position, in the run where they were closest;
            None when neither run tells.
        is_fine: Same sequences, or parted at a near tie.
    """

    index: int | None
    gap_nats: float | None
    is_fine: bool

    def describe(self) -> str:
        """Say it in words, to end a message with."""
        if self.index is None:
            return "the same text"
        gap = "unknown" if self.gap_nats is None else f"{self.gap_nats:.2f} nats"
        where = "a near tie" if self.is_fine else "no near tie"
        return f"parted at token {self.index + 1}, {where} (gap {gap})"


def compare_greedy(first: Sequence[Scored], second: Sequence[Scored], margin_nats: float = NEAR_TIE_NATS) -> Parting:
    """Compare two greedy runs of the same request.

    Where one sequence is a prefix of the other, the longer run's next token is compared with its nearest
    rival at that position, as the shorter run must have ended there.
    """
    for index in range(max(len(first), len(second))):
        here = first[index] if index < len(first) else None
        there = second[index] if index < len(second) else None
        if here is not None and there is not None and here.token == there.token:
            continue
        gaps = [gap for gap in (_gap_to(here, there), _gap_to(there, here)) if gap is not None]
        smallest = min(gaps) if gaps else None
        return Parting(index, smallest, smallest is not None and smallest <= margin_nats)
    return Parting(None, None, True)


def _gap_to(own: Scored | None, rival: Scored | None) -> float | None:
    """Give how far the rival's token lies from the own one in the own run, or a lower bound of it."""
    if own is None or not own.top:
        return None
    others = {token: logprob for token, logprob in own.top.items() if token != own.token}
    if rival is None:
        return own.logprob - max(others.values()) if others else None
    if rival.token in others:
        return abs(own.logprob - others[rival.token])
    # Not listed: it lies below every token that is, so this is a lower bound. A list of one (the token
    # itself) tells nothing; one that is nearly flat gives the benefit of the doubt.
    return own.logprob - min(others.values()) if others else None
