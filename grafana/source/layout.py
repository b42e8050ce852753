"""Put panels on Grafana's grid of 24 columns, with numbers that do not change while the order does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard, text
from grafana_foundation_sdk.models import dashboard as models

from source.panels import Panel

GRID_COLUMNS = 24
_HEAD_HEIGHT = 3


@dataclass(frozen=True)
class Band:
    """Panels side by side, all of one height; their widths fill the grid."""

    height: int
    panels: Sequence[tuple[int, Panel]]


@dataclass(frozen=True)
class Section:
    """A titled row of the dashboard with its bands from top to bottom.

    Attributes:
        title: The row's title.
        bands: Its bands.
        is_conditional: Whether it is of use only under a condition, which its title names: it is shut at first.
    """

    title: str
    bands: Sequence[Band]
    is_conditional: bool = False


def place_sections(board: dashboard.Dashboard, head: text.Panel, sections: Sequence[Section]) -> None:
    """Add a text and then the sections to a dashboard from top to bottom.

    Raises:
        ValueError: A band's widths do not fill the grid.
    """
    board.with_panel(head.id(1).grid_pos(models.GridPos(h=_HEAD_HEIGHT, w=GRID_COLUMNS, x=0, y=0)))
    number, top = 2, _HEAD_HEIGHT
    for section in sections:
        place = models.GridPos(h=1, w=GRID_COLUMNS, x=0, y=top)
        row = dashboard.Row(section.title).id(number).collapsed(section.is_conditional).grid_pos(place)
        number, top = number + 1, top + 1
        within = top
        panels: list[Panel] = []
        for band in section.bands:
            panels += _place_band(band, number + len(panels), within)
            within += band.height
        if section.is_conditional:
            # What is in a row that is shut belongs to the row, and takes no room below it.
            for panel in panels:
                row.with_panel(panel)
            board.with_row(row)
        else:
            board.with_row(row)
            for panel in panels:
                board.with_panel(panel)
            top = within
        number += len(panels)


def _place_band(band: Band, number: int, top: int) -> list[Panel]:
    left, placed = 0, []
    for offset, (width, panel) in enumerate(band.panels):
        place = models.GridPos(h=band.height, w=width, x=left, y=top)
        placed.append(panel.id(number + offset).grid_pos(place))
        left += width
    if left != GRID_COLUMNS:
        raise ValueError(f"panels {number} to {number + len(placed) - 1} fill {left} columns of {GRID_COLUMNS}")
    return placed
