"""Quantiles of a histogram's buckets, as PromQL's `histogram_quantile` estimates them. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

from stack.telemetry.exposition import Exposition, counter_delta

Bucket = tuple[float, float]
"""An upper bound (`le`), and how many events were at most that."""


def build_buckets(before: Exposition, after: Exposition, name: str, /, **labels: str) -> tuple[Bucket, ...]:
    """Give what a histogram counted between two pages, by rising bound; empty where it has no buckets.

    Series that differ in other labels are added up, as `sum by (le)` does. Counts never fall with the bound, because a
    page is not written in one instant.
    """
    series = f"{name}_bucket"
    texts = {sample.labels.get("le", "") for sample in after.select(series, **labels)}
    bounds = sorted((bound, text) for text in texts if (bound := _parse_bound(text)) is not None)
    counts = (counter_delta(before, after, series, le=text, **labels) or 0.0 for _, text in bounds)
    return tuple(zip((bound for bound, _ in bounds), itertools.accumulate(counts, max), strict=True))


def find_quantile(buckets: Sequence[Bucket], share: float) -> float | None:
    """Give the value that a share of the events did not exceed.

    Inside a bucket, events are taken to be spread evenly; those beyond the highest finite bound are given as that
    bound.

    Args:
        buckets: By rising bound, the last one infinite.
        share: Which quantile, 0 to 1.

    Returns:
        None where there are no events, no finite number of them, or no finite bound.

    Source:
        https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile
    """
    if len(buckets) < 2 or not math.isinf(buckets[-1][0]) or not 0 < buckets[-1][1] < math.inf:
        return None
    rank = share * buckets[-1][1]
    place = next(index for index, (_, count) in enumerate(buckets) if count >= rank)
    if place == len(buckets) - 1:
        return find_highest_bound(buckets)
    bound, count = buckets[place]
    start, below = buckets[place - 1] if place > 0 else (min(bound, 0.0), 0.0)
    value = bound if count <= below else start + (bound - start) * (rank - below) / (count - below)
    return value if math.isfinite(value) else None


def find_highest_bound(buckets: Iterable[Bucket]) -> float | None:
    """Give the highest finite bound: a quantile that is equal to it may be any more."""
    return max((bound for bound, _ in buckets if math.isfinite(bound)), default=None)


def _parse_bound(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
