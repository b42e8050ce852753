"""Numbers of `stack top` in few characters, each with its unit. Pure."""

from __future__ import annotations

import re

from stack.telemetry.live import Latency

NOTHING = "-"
_BREAK = re.compile(r"[\n\r\t]\s*")
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def join_lines(text: str) -> str:
    """Give a text as one line without tabs: names and summaries come from elsewhere, and rows are counted."""
    return _BREAK.sub(" ", text)


def describe_number(value: float | None) -> str:
    """Give a number in at most seven characters: `0.4`, `999.9`, `12,345`, `1.2M`."""
    if value is None:
        return NOTHING
    for limit, factor, unit in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e5, 1e3, "k")):
        if value >= limit:
            return f"{value / factor:,.1f}{unit}"
    return f"{value:,.0f}" if value >= 999.95 or value == int(value) else f"{value:,.1f}"


def describe_rate(value: float | None) -> str:
    """Give a rate: as a number, and always with its tenth below 1000, so that it does not jump; no 0 for a little."""
    if value is None or value >= 999.95:
        return describe_number(value)
    return "<0.1" if 0 < value < 0.05 else f"{value:.1f}"


def describe_percent(share: float | None) -> str:
    """Give a share in percent; 100 % only for all of it, and 0 % only for nothing."""
    if share is None:
        return NOTHING
    percent = share * 100
    if 0 < percent < 0.05:
        return "<0.1 %"
    return f"{min(percent, 99.9) if share < 1 else percent:.1f} %"


def describe_seconds(seconds: float | None) -> str:
    """Give a time in at most seven characters: `0.4 ms`, `123 ms`, `1.23 s`, `456 s`."""
    if seconds is None:
        return NOTHING
    if seconds < 0.9995:
        return f"{seconds * 1000:.1f} ms" if seconds < 0.00995 else f"{seconds * 1000:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s" if seconds < 99.95 else f"{seconds:.0f} s"


def describe_quantile(latency: Latency | None, share: float) -> str:
    """Give a quantile; where it lies beyond the highest bound, only that it does."""
    seconds = latency.quantiles.get(share) if latency is not None else None
    if latency is None or seconds is None:
        return NOTHING
    if latency.highest_bound_seconds is not None and seconds >= latency.highest_bound_seconds:
        return f">{describe_seconds(latency.highest_bound_seconds)}"
    return describe_seconds(seconds)


def describe_age(seconds: float) -> str:
    """Give a span in its two largest units: `2 d 3 h`, `2 h 5 min`, `5 min`, `45 s`."""
    whole = max(0, round(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    days, hours, minutes = whole // _DAY, whole % _DAY // _HOUR, whole % _HOUR // _MINUTE
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def describe_gigabytes(size_bytes: int | None) -> str:
    """Give a memory size in GB, without the unit."""
    return NOTHING if size_bytes is None else f"{size_bytes / 1e9:.1f}"
