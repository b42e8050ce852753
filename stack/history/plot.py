"""One figure against another, as points on axes that begin at zero. Pure.

Across, places are shares of the width: the drawing takes any width, and its letters keep their size.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

TOP, BOTTOM = 20.0, 170.0
"""Where the drawing's area begins and ends, in pixels from above."""
_MOST_STEPS = 5
_LEAST = 1e-9


@dataclass(frozen=True)
class Tick:
    """A number at an axis, or a mark: its place, in percent across or in pixels from above, and what stands there."""

    at: float
    text: str


@dataclass(frozen=True)
class Point:
    """A point: percent across, pixels from above."""

    x: float
    y: float


@dataclass(frozen=True)
class Plot:
    """A drawing.

    Attributes:
        x_name: What lies across, with its unit.
        y_name: What lies up, with its unit.
        points: The points, from left to right.
        x_ticks: The numbers across.
        y_ticks: The numbers up.
        mark: What is marked across, or None.
        said: All points in words, for those who cannot see them.
    """

    top: ClassVar[float] = TOP
    bottom: ClassVar[float] = BOTTOM
    x_name: str
    y_name: str
    points: tuple[Point, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    mark: Tick | None
    said: str

    @property
    def lines(self) -> list[tuple[Point, Point]]:
        """Give each point with the next."""
        return list(itertools.pairwise(self.points))


@dataclass(frozen=True)
class Plots:
    """Plots beside each other, with a heading and a sentence below it or an empty one."""

    look: ClassVar[str] = "plots"
    heading: str
    plots: tuple[Plot, ...]
    text: str = ""


def build_plot(
    x_name: str, y_name: str, values: Sequence[tuple[float, float]], mark: tuple[float, str] | None = None
) -> Plot:
    """Lay out points on axes that begin at zero and end at a round number.

    Args:
        x_name: What lies across, with its unit.
        y_name: What lies up, with its unit.
        values: Pairs of x and y, not below zero.
        mark: An x to be marked, and how.
    """
    values = sorted(values)
    across, up = (find_ticks(max((pair[place] for pair in values), default=0.0)) for place in (0, 1))

    def place_x(x: float) -> float:
        return round(100 * x / across[-1], 2)

    def place_y(y: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * y / up[-1], 1)

    return Plot(
        x_name,
        y_name,
        tuple(Point(place_x(x), place_y(y)) for x, y in values),
        tuple(Tick(place_x(x), f"{x:g}") for x in across),
        tuple(Tick(place_y(y), f"{y:g}") for y in up),
        Tick(place_x(mark[0]), mark[1]) if mark else None,
        f"{y_name} at {x_name}: " + ", ".join(f"{y:.4g} at {x:g}" for x, y in values),
    )


def find_ticks(largest: float) -> list[float]:
    """Give round numbers from zero to the first that is not below the largest value, six at most."""
    if largest < _LEAST:
        return [0.0, 1.0]
    size = 10.0 ** math.floor(math.log10(largest / _MOST_STEPS))
    step = next(size * share for share in (1, 2, 2.5, 5, 10) if size * share * _MOST_STEPS >= largest * (1 - 1e-9))
    return [round(step * number, 12) for number in range(math.ceil(largest / step - 1e-9) + 1)]
