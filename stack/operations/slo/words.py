"""Shares, counts, spans and times of an SLO report, in words. Pure."""

from __future__ import annotations

import datetime
import math

from stack.telemetry.slo_judge import Outcome, Verdict

VERDICTS: dict[Verdict, str] = {
    "kept": "kept",
    "missed": "missed",
    "few": "too few",
    "idle": "idle",
    "unknown": "unknown",
}
NOTHING = "-"
NO_REQUESTS = "no requests"
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def describe_share(share: float | None) -> str:
    """Give a share in percent, never rounded up: 100 % is all of them, and 99 % is not 98.996 %."""
    if share is None:
        return NOTHING
    return f"{math.floor(share * 10_000 + 1e-6) / 100:.6g} %"


def describe_budget(left: float | None) -> str:
    """Give what is left of a budget, or that it is spent and by how much more."""
    if left is None:
        return NOTHING
    if left > 0:
        return describe_share(left)
    over = -left * 100
    return f"spent, +{over:,.0f} %" if over >= 0.5 else "spent"


def describe_count(count: float) -> str:
    """Give a count that was extrapolated as the whole number that it stands for; a part of one is no nothing."""
    if count >= 1_000_000:
        return f"{count / 1_000_000:,.2f}M"
    return "<1" if 0 < count < 0.5 else f"{count:,.0f}"


def describe_bad(outcome: Outcome) -> str:
    """Give how many of an objective's events were not good."""
    if outcome.bad is None or outcome.events <= 0:
        return NO_REQUESTS if outcome.verdict == "idle" else NOTHING
    things = f" {outcome.things}" if outcome.things != "requests" else ""
    return f"{describe_count(outcome.bad)} of {describe_count(outcome.events)}{things}"


def describe_objective(outcome: Outcome) -> str:
    """Give an objective with its bound."""
    return outcome.name if outcome.bound_seconds is None else f"{outcome.name} <= {outcome.bound_seconds:g} s"


def describe_rate(count: float, seconds: float) -> str:
    """Give how many there were in each second of a span."""
    return f"{count / seconds:,.4g}" if seconds > 0 else NOTHING


def describe_span(seconds: float) -> str:
    """Give a span in its two largest units: `1 d 20 h`, `3 h 20 min`, `45 s`."""
    rest, parts = round(seconds), []
    for size, unit in _UNITS:
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append(f"{count} {unit}" if count else "")
        if len(parts) == 2:
            break
    return " ".join(filter(None, parts)) or "0 s"


def describe_time(at: float) -> str:
    """Give a Unix time, to the minute, in UTC."""
    return f"{datetime.datetime.fromtimestamp(at, datetime.UTC):%Y-%m-%d %H:%M} UTC"
