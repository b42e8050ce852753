"""How much of a window Prometheus has samples of an engine for: where they begin and end, how long one was seen."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from stack.errors import ServiceApiError
from stack.telemetry.prometheus_api import PrometheusApi, Series

_SEEN = "vllm:num_requests_running"
_LOOKS = 300
"""In so many looks the beginning is found roughly; one more finds the sample."""
_MOST_STEPS = 10_000
"""Below what Prometheus gives in one answer."""
_LEAST_STEP_SECONDS = 60


@dataclass(frozen=True)
class Window:
    """A span of time.

    Attributes:
        end: Its end, in Unix time.
        seconds: How long it is.
    """

    end: float
    seconds: int

    @property
    def begin(self) -> float:
        """Give its beginning, in Unix time."""
        return self.end - self.seconds

    @property
    def text(self) -> str:
        """Give it as a Prometheus duration."""
        return f"{self.seconds}s"

    def align_end(self, step_seconds: int) -> float:
        """Give the first multiple of a step at its end or after: where Prometheus takes the steps of a subquery."""
        return float(math.ceil(self.end / step_seconds) * step_seconds)


@dataclass(frozen=True)
class Coverage:
    """What there is of a window.

    Attributes:
        begins: The first sample of any engine, in Unix time; None where there is none.
        ends: The last one.
        seen_seconds: How long any engine was seen.
        interval_seconds: The time between two samples.
        step_seconds: How finely `seen_seconds` is told.
        retention: How much Prometheus keeps, in its own words; None where it does not say.
    """

    begins: float | None
    ends: float | None
    seen_seconds: float
    interval_seconds: int
    step_seconds: int
    retention: str | None = None


def fetch_coverage(api: PrometheusApi, window: Window) -> Coverage:
    """Ask what there is of a window.

    Raises:
        ServiceApiError: Prometheus does not answer.
    """
    look = max(math.ceil(window.seconds / _LOOKS), 1)
    (rough, *_), retention = _look(api, window, look) or ((),), _fetch_retention(api)
    if not rough:
        return Coverage(None, None, 0.0, 0, _LEAST_STEP_SECONDS, retention)
    first, last = (api.query(f"{_SEEN}[{look}s]", at_seconds=at) for at in (rough[0], rough[-1]))
    interval = max(_read_interval(first), _read_interval(last))
    begins = max(min(at for series in first for at, _ in series.points), window.begin)
    ends = max(at for series in last for at, _ in series.points)
    step = choose_step(window.seconds, interval)
    seen = api.query(
        f"count_over_time(count(count_over_time({_SEEN}[{step}s]))[{window.seconds - 1}s:{step}s])",
        at_seconds=window.align_end(step),
    )
    told = min(sum(series.value for series in seen) * step, ends - begins)
    return Coverage(begins, ends, told, interval, step, retention)


def choose_step(window_seconds: int, interval_seconds: int) -> int:
    """Give the step by which time is counted: whole minutes, two samples at least, no more steps than can be had."""
    least = max(_LEAST_STEP_SECONDS, 2 * interval_seconds, window_seconds / _MOST_STEPS)
    return math.ceil(least / _LEAST_STEP_SECONDS) * _LEAST_STEP_SECONDS


def _look(api: PrometheusApi, window: Window, look: int) -> list[list[float]]:
    found = api.query_range(
        f"count(count_over_time({_SEEN}[{look}s]))",
        start_seconds=window.end - look * (math.ceil(window.seconds / look) - 1),
        end_seconds=window.end,
        step_seconds=look,
    )
    return [[at for at, _ in series.points] for series in found]


def _read_interval(found: Sequence[Series]) -> int:
    gaps = [
        later - earlier
        for series in found
        for (earlier, _), (later, _) in zip(series.points, series.points[1:], strict=False)
    ]
    return max(round(statistics.median(gaps)), 1) if gaps else 0


def _fetch_retention(api: PrometheusApi) -> str | None:
    try:
        return api.fetch_runtime_info().get("storageRetention") or None
    except ServiceApiError:
        # What only speaks the query language has no such page; the queries tell whether it answers at all.
        return None
