"""The arithmetic of judging a language model by its scores: log-probabilities in, verdicts out."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

_SCRAMBLE_SEED = 20240229


@dataclass(frozen=True)
class Agreement:
    """How well two scorings of the same tokens agree.

    Units:
        Nats a token.
    """

    mean_difference: float
    largest_difference: float
    count: int


def compute_mean_nll(logprobs: Sequence[float]) -> float:
    """Compute the mean negative log-likelihood.

    Units:
        Nats a token.

    Raises:
        ValueError: There is nothing to take a mean of, or a value is not a number.
    """
    if not logprobs:
        raise ValueError("no token was scored")
    mean = -sum(logprobs) / len(logprobs)
    if math.isnan(mean):
        raise ValueError("a log-probability is not a number")
    return mean


def compute_uniform_nll(vocab_size: int) -> float:
    """Compute what a model that knows nothing scores: the logarithm of the vocabulary's size."""
    return math.log(vocab_size)


def find_split(right: Sequence[int], wrong: Sequence[int]) -> int:
    """Find the first position where two continuations differ.

    Comparing the two tokens there compares two probabilities under one and the same context. Sums over whole
    continuations would favour whichever is cut into fewer tokens.

    Raises:
        ValueError: One continuation is the start of the other, so no position differs.
    """
    for index, (ours, theirs) in enumerate(zip(right, wrong, strict=False)):
        if ours != theirs:
            return index
    raise ValueError("one continuation is the start of the other")


def compute_agreement(first: Sequence[float], second: Sequence[float]) -> Agreement:
    """Compare two scorings of the same tokens.

    Raises:
        ValueError: They are of different length, empty, or hold what is not a number.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"{len(first)} scores against {len(second)}")
    # Both say "impossible" below this, with whatever figure; the exact one carries no meaning.
    floor = -100.0
    gaps = [abs(max(ours, floor) - max(theirs, floor)) for ours, theirs in zip(first, second, strict=True)]
    if any(math.isnan(gap) for gap in gaps):
        raise ValueError("a log-probability is not a number")
    return Agreement(sum(gaps) / len(gaps), max(gaps), len(gaps))


def scramble_words(text: str) -> str:
    """Give the same words in another order, the same one every time."""
    words = text.split()
    random.Random(_SCRAMBLE_SEED).shuffle(words)
    return " ".join(words)


def compute_cosine(first: Sequence[float], second: Sequence[float]) -> float:
    """Compute the cosine of the angle between two vectors.

    Raises:
        ValueError: The vectors differ in length, or one of them has no length.
    """
    if len(first) != len(second):
        raise ValueError(f"vectors of {len(first)} and {len(second)} dimensions")
    norms = math.hypot(*first) * math.hypot(*second)
    if not norms or not math.isfinite(norms):
        raise ValueError("a vector is zero or not finite")
    return sum(ours * theirs for ours, theirs in zip(first, second, strict=True)) / norms
