"""The rate at which an engine's latency leaves it: a sweep of rates, judged step by step. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

FIRST_SHARE, GROWTH, MOST_STEPS = 0.5, 1.5, 10
"""The first rate, of what was answered with a preset's own concurrency; each next one; and how many at most."""
_LEAST_GAIN = 0.1
_EXPLODED = 5.0
# A TTFT that grows fivefold and is still this short is no explosion for anybody.
_SHORT_SECONDS = 0.25


@dataclass(frozen=True)
class Step:
    """What one rate came to.

    Attributes:
        rate: Requests a second that arrived.
        good_per_second: Requests a second that were answered within the objectives (all of them where there are none).
        output_tokens_per_second: What was generated.
        ttft_p95_seconds: How long 95 of 100 waited at most for the first token.
        failed: Requests without an answer.
    """

    rate: float
    good_per_second: float
    output_tokens_per_second: float
    ttft_p95_seconds: float
    failed: int = 0


@dataclass(frozen=True)
class Knee:
    """Where a sweep ended.

    Attributes:
        step: The best rate before the one that was too much; None where already the first was.
        is_found: Whether a rate was too much; a sweep may end before.
        why: The evidence.
    """

    step: Step | None
    is_found: bool
    why: str


def find_next_rate(steps: Sequence[Step], answered_per_second: float) -> float | None:
    """Give the rate to try next; None where the sweep is over.

    Args:
        steps: What was tried, in order.
        answered_per_second: Requests a second that the engine answered of the probe.
    """
    if not steps:
        return round_rate(answered_per_second * FIRST_SHARE)
    if len(steps) >= MOST_STEPS or find_excess(steps) is not None:
        return None
    return round_rate(steps[-1].rate * GROWTH)


def round_rate(rate: float) -> float:
    """Give a rate with three digits, as it is said and sent."""
    return float(f"{max(rate, 0.001):.3g}")


def find_excess(steps: Sequence[Step]) -> str | None:
    """Tell what shows that the last rate is too much, or None while it is not."""
    last = steps[-1]
    if last.failed:
        return f"at {last.rate:g} requests a second {last.failed} were not answered"
    if not last.good_per_second:
        return f"at {last.rate:g} requests a second none was answered in time"
    if len(steps) == 1:
        return None
    # Of all rates before: 95 of 100 of a few dozen requests is a number that jumps.
    usual = statistics.median(step.ttft_p95_seconds for step in steps[:-1])
    if last.ttft_p95_seconds > max(_EXPLODED * usual, _SHORT_SECONDS):
        return (
            f"at {last.rate:g} requests a second the p95 TTFT is {last.ttft_p95_seconds:.3g} s, "
            f"against {usual:.3g} s before"
        )
    best = max(step.good_per_second for step in steps[:-1])
    if last.good_per_second < best * (1 + _LEAST_GAIN):
        return (
            f"at {last.rate:g} requests a second {last.good_per_second:.3g} were answered in time, "
            f"against {best:.3g} before"
        )
    return None


def find_knee(steps: Sequence[Step]) -> Knee:
    """Give where a sweep that is over has its knee."""
    excess = find_excess(steps)
    if excess is None:
        return Knee(steps[-1], False, f"no rate was too much; the last was {steps[-1].rate:g} requests a second")
    best = max(steps[:-1], key=lambda step: step.good_per_second, default=None)
    if best is None or not best.good_per_second:
        return Knee(None, True, f"already the first rate is too much: {find_excess(steps[:1]) or excess}")
    return Knee(best, True, excess)
