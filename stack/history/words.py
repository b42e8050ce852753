"""Numbers of a report in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping


def format_latency(seconds: float | None) -> str:
    """Give a latency with three digits, below a second in milliseconds; `-` where there is none."""
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def format_pair(percentiles: Mapping[str, float] | None, second: str) -> str:
    """Give the median and another percentile: `120 ms / 1.2 s`."""
    found = percentiles or {}
    return f"{format_latency(found['p50'])} / {format_latency(found[second])}" if found else "-"


def format_number(value: float) -> str:
    """Give a number with four digits, a large one with all of those before its point."""
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def format_counts(counts: Mapping[str, int]) -> str:
    """Give what was counted, without what never occurred: `36 equal, 2 differs`."""
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)
