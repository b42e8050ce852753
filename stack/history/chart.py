"""Bars, of seconds where nothing else is said, as shares of the longest. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

Role = Literal["now", "before"]


@dataclass(frozen=True)
class Value:
    """What one bar shows.

    Attributes:
        role: `now` is what the page is about; `before` is drawn as an outline.
        seconds: How long it took; in a chart of another unit, so much of that.
        note: What stands behind its seconds.
    """

    role: Role
    seconds: float
    note: str = ""


@dataclass(frozen=True)
class Bar:
    """One bar.

    Attributes:
        role: How it is drawn.
        label: What it belongs to; empty for what belongs to the label above it.
        text: What stands behind it.
        percent: Its length, of the longest.
    """

    role: Role
    label: str
    text: str
    percent: float


@dataclass(frozen=True)
class Chart:
    """Bars from a common zero, with a heading and a sentence below it or an empty one."""

    look: ClassVar[str] = "bars"
    heading: str
    bars: tuple[Bar, ...]
    text: str = ""


def format_seconds(seconds: float) -> str:
    """Give seconds with as many digits as they deserve."""
    return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def build_chart(
    heading: str,
    groups: Sequence[tuple[str, Sequence[Value]]],
    *,
    text: str = "",
    say: Callable[[float], str] = format_seconds,
) -> Chart:
    """Lay out groups of bars under one another; the longest bar takes all the room that there is.

    Args:
        heading: What the bars are of.
        groups: A label, and the bars that belong to it.
        text: What must be known to read them.
        say: Gives what stands behind a bar, where it is not of seconds.
    """
    longest = max((value.seconds for _, values in groups for value in values), default=0.0)
    bars = [
        Bar(
            value.role,
            "" if number else label,
            f"{say(value.seconds)} {value.note}".rstrip(),
            round(100 * max(value.seconds, 0.0) / longest, 2) if longest > 0 else 0.0,
        )
        for label, values in groups
        for number, value in enumerate(values)
    ]
    return Chart(heading, tuple(bars), text)
