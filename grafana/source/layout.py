"""Put panels on Grafana's grid of 24 columns, with numbers that do not change while the order does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import dashboard as models

from source.panels import Panel

GRID_COLUMNS = 24


@dataclass(frozen=True)
class Band:
    """Panels side by side, all of one height; their widths fill the grid."""

    height: int
    panels: Sequence[tuple[int, Panel]]


@dataclass(frozen=True)
class Section:
    """A titled row of the dashboard with its bands from top to bottom."""

    title: str
    bands: Sequence[Band]


def place_sections(board: dashboard.Dashboard, sections: Sequence[Section]) -> None:
    """Add the sections to a dashboard from top to bottom.

    Raises:
        ValueError: A band's widths do not fill the grid.
    """
    number, top = 1, 0
    for section in sections:
        place = models.GridPos(h=1, w=GRID_COLUMNS, x=0, y=top)
        board.with_row(dashboard.Row(section.title).id(number).collapsed(False).grid_pos(place))
        number, top = number + 1, top + 1
        for band in section.bands:
            _place_band(board, band, number, top)
            number, top = number + len(band.panels), top + band.height


def _place_band(board: dashboard.Dashboard, band: Band, number: int, top: int) -> None:
    left = 0
    for offset, (width, panel) in enumerate(band.panels):
        place = models.GridPos(h=band.height, w=width, x=left, y=top)
        board.with_panel(panel.id(number + offset).grid_pos(place))
        left += width
    if left != GRID_COLUMNS:
        raise ValueError(f"panels {number} to {number + len(band.panels) - 1} fill {left} columns of {GRID_COLUMNS}")
