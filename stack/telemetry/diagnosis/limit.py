"""One thing that limits an engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Name = Literal[
    "stuck",
    "preemption",
    "kv-cache",
    "queue",
    "admission",
    "gpu-clocks",
    "host-cpu",
    "prefill",
    "decode",
    "client",
    "idle",
]
Confidence = Literal["high", "medium", "low"]


@dataclass(frozen=True)
class Limit:
    """What limits an engine.

    Attributes:
        name: What it is.
        said: The same in one sentence.
        confidence: `high` where the figures leave no other reading, `medium` where another is possible, `low` where
            it is a hint.
        evidence: The figures, all of the time between the two looks or of both of them.
        change: Engine args and other settings to change, the likeliest first.
    """

    name: Name
    said: str
    confidence: Confidence
    evidence: tuple[str, ...]
    change: tuple[str, ...]
