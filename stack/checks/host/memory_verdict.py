"""Whether a model fits the memory that an engine may take: what the sizing told, as the checks need it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Range = tuple[float | None, float | None]


@dataclass(frozen=True)
class MemoryVerdict:
    """What the sizing told of a model on one device; ranges go from the least to the most, None is not known.

    Attributes:
        fits: `uncertain` where it depends on what vLLM measures at start, `unknown` where a part is not known.
        reason: Why, in words without a final period.
        weights: Bytes of the weights.
        kv_bytes: KV cache of one request of the asked context.
        total: Bytes of weights, KV cache of one request, and the assumed overhead.
        asked_context: The context in question, in tokens.
        context: The largest context that fits, in tokens.
        concurrency: Requests of the asked context at once.
    """

    fits: Literal["yes", "no", "uncertain", "unknown"]
    reason: str
    weights: Range = (None, None)
    kv_bytes: int | None = None
    total: Range = (None, None)
    asked_context: int | None = None
    context: Range = (None, None)
    concurrency: Range = (None, None)


JudgeMemory = Callable[[int | None, int | None], MemoryVerdict]
"""Judges a device by its memory in all and what is free of it, in bytes; None and None for the CPU engine."""
