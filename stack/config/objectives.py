"""Rules of `[slo]` that span keys (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from stack.config.quantities import parse_duration_seconds
from stack.config.schema import StackConfig
from stack.config.schema_slo import LATENCY_BOUNDS

_CUSTOM = "custom-histogram-buckets"
# The longest window that an alert looks back over is three days.
_SHORTEST_WINDOW_SECONDS = 3 * 86_400


def check_objectives(config: StackConfig) -> Iterator[tuple[tuple[str, ...], str]]:
    """Give what is wrong with the objectives: the keys, and what to change."""
    slo = config.slo
    if parse_duration_seconds(slo.window) < _SHORTEST_WINDOW_SECONDS:
        yield ("slo.window",), f"{slo.window} is too short: alerts look back over three days; write `3d` or more"
    if _CUSTOM in config.engine.args:
        return
    for name, bounds in LATENCY_BOUNDS.items():
        seconds = getattr(slo, name).seconds
        if seconds not in bounds:
            yield (
                (f"slo.{name}.seconds",),
                (
                    f"{seconds:g} is no bound of vLLM's histogram, so nobody can tell how many were as fast; "
                    f"{_name_nearest(seconds, bounds)}"
                ),
            )


def warn_objectives(config: StackConfig) -> Iterator[tuple[tuple[str, ...], str]]:
    """Give what of the objectives has no effect, or less than was meant."""
    slo, prometheus = config.slo, config.services.prometheus
    if not slo.enabled or not prometheus.enabled:
        return
    if parse_duration_seconds(slo.window) > parse_duration_seconds(prometheus.retention_time):
        keys = ("slo.window", "services.prometheus.retention-time")
        yield keys, f"is longer than Prometheus keeps samples ({prometheus.retention_time}): the budget is that of less"
    if _CUSTOM in config.engine.args:
        for name, bounds in LATENCY_BOUNDS.items():
            if getattr(slo, name).seconds not in bounds:
                keys = (f"slo.{name}.seconds", f"engine.args.{_CUSTOM}")
                yield keys, "must be one of the bounds that `custom-histogram-buckets` gives; else nothing is recorded"


def _name_nearest(seconds: float, bounds: tuple[float, ...]) -> str:
    if seconds < bounds[0]:
        return f"the first is {bounds[0]:g}"
    if seconds > bounds[-1]:
        return f"the last is {bounds[-1]:g}"
    below, above = next((low, high) for low, high in pairwise(bounds) if low < seconds < high)
    return f"the nearest are {below:g} and {above:g}"
