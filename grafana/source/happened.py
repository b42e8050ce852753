"""*What happened*: the last boots, smokes, upgrades, replays and other runs, with links to their reports."""

from __future__ import annotations

from source.board import TAG
from source.layout import Band, Section
from source.panels import build_happenings

_SHOWN = 20


def build_section() -> Section:
    """Give the section."""
    panel = build_happenings(
        "Runs of the last time",
        "boots and smokes that passed.",
        "a run that failed: its link opens its report, and the command beside it writes the report as a file.",
        tag=TAG,
        limit=_SHOWN,
    )
    return Section("What happened", [Band(8, [(24, panel)])])
