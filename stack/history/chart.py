"""Bars, of seconds where nothing else is said, laid out for an SVG drawing. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

WIDTH = 720
_LABEL_WIDTH = 190
_VALUE_WIDTH = 150
_BAR_HEIGHT = 14
_GROUP_GAP = 8
_LABEL_CHARS = 26

Role = Literal["now", "before"]


@dataclass(frozen=True)
class Value:
    """What one bar shows.

    Attributes:
        role: `now` is what the page is about.
        seconds: How long it took; in a chart of another unit, so much of that.
        note: What stands beside its seconds.
    """

    role: Role
    seconds: float
    note: str = ""


@dataclass(frozen=True)
class Bar:
    """One bar, with its place.

    Units: x, y, width and height in the drawing's units.
    """

    role: Role
    label: str
    text: str
    y: float
    width: float
    height: float = _BAR_HEIGHT
    x: float = _LABEL_WIDTH


@dataclass(frozen=True)
class Chart:
    """A drawing of bars.

    Units: width and height in the drawing's units.
    """

    title: str
    bars: tuple[Bar, ...]
    height: float
    width: float = WIDTH


def format_seconds(seconds: float) -> str:
    """Give seconds with as many digits as they deserve."""
    return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def build_chart(
    title: str, groups: Sequence[tuple[str, Sequence[Value]]], *, say: Callable[[float], str] = format_seconds
) -> Chart:
    """Lay out groups of bars under one another; the longest bar takes all the room that there is.

    Args:
        title: What the drawing shows, for those who cannot see it.
        groups: A label, and the bars that belong to it.
        say: Gives what stands beside a bar, where it is not of seconds.
    """
    longest = max((value.seconds for _, values in groups for value in values), default=0.0)
    room = WIDTH - _LABEL_WIDTH - _VALUE_WIDTH
    bars, y = [], 0.0
    for label, values in groups:
        for number, value in enumerate(values):
            width = round(room * max(value.seconds, 0.0) / longest, 1) if longest > 0 else 0.0
            text = f"{say(value.seconds)} {value.note}".rstrip()
            bars.append(Bar(value.role, "" if number else _cut(label), text, y, width))
            y += _BAR_HEIGHT + 1
        y += _GROUP_GAP
    return Chart(title, tuple(bars), max(y - _GROUP_GAP, 0.0))


def _cut(label: str) -> str:
    return label if len(label) <= _LABEL_CHARS else f"{label[: _LABEL_CHARS - 1]}…"
