"""*Overview*: is it up, how fast, how full, what runs, what happened."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from source import fast, full, happened, runs, up
from source.board import Board, build_board

_ABOUT = Board(
    title="Overview",
    question="Is the engine up, answering right, and fast enough?",
    reading=(
        "From the top: what is up and what is wrong, how fast it answers, how full it is, what runs, whether it was "
        "right when it was last tested, and what happened of late. The links above lead to the details of each."
    ),
)


def build_dashboard(uid: str) -> dashboard.Dashboard:
    """Give the dashboard."""
    sections = [*up.build_sections(), fast.build_section(), full.build_section(), *runs.build_sections()]
    sections.append(happened.build_section())
    return build_board(uid, _ABOUT, sections)
