"""What to look at during a demo, in which order, and where. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from stack.assets import asset_path
from stack.telemetry.contract.variables import read_values, substitute
from stack.traffic.demo_plan import Span

_WITHOUT = "`stack top` and `stack diagnose` in another terminal"


@dataclass(frozen=True)
class Sight:
    """One panel to look at.

    Attributes:
        board: The dashboard's title.
        panel: The panel's title.
        shows: What is to be seen.
        url: Where: the dashboard in Grafana, else the panel's first query in Prometheus; None: neither runs.
    """

    board: str
    panel: str
    shows: str
    url: str | None


def build_sights(span: Span, urls: Mapping[str, str]) -> list[Sight]:
    """Give what a phase shows.

    Args:
        span: The phase.
        urls: Where `grafana` and `prometheus` answer, as far as they run.
    """
    sights = []
    for look in span.phase.looks:
        board = json.loads(asset_path("grafana", "dashboards", f"{look.board}.json").read_text(encoding="utf-8"))
        sights.append(Sight(board["title"], look.panel, look.shows, _find_url(board, look.panel, urls)))
    return sights


def render_tour(spans: Sequence[Span], urls: Mapping[str, str]) -> list[str]:
    """Give the lines that say what happens when, and where to look."""
    total = spans[-1].end_seconds if spans else 0.0
    lines = [f"The demo takes {_render_clock(total)}. What to look at, in this order:"]
    if not urls:
        lines.append(f"neither Grafana nor Prometheus runs here: {_WITHOUT}")
    for span in spans:
        lines += ["", f"{_render_clock(span.start_seconds)}  {span.phase.name}: {span.phase.does}"]
        for sight in build_sights(span, urls):
            lines.append(f"      {sight.board}, *{sight.panel}*: {sight.shows}")
            lines += [f"      {sight.url}"] if sight.url else []
    if "grafana" not in urls and urls:
        lines += ["", f"Grafana does not run here: the links ask Prometheus. Or {_WITHOUT}"]
    return [*lines, ""]


def _find_url(board: Mapping[str, Any], panel: str, urls: Mapping[str, str]) -> str | None:
    if "grafana" in urls:
        return f"{urls['grafana']}/d/{board['uid']}"
    if "prometheus" not in urls:
        return None
    values = read_values((board.get("templating") or {}).get("list") or [])
    expr = next(target["expr"] for target in find_panel(board["panels"], panel)["targets"])
    return f"{urls['prometheus']}/graph?g0.expr={quote(substitute(expr, values))}&g0.tab=0&g0.range_input=15m"


def find_panel(panels: Sequence[Mapping[str, Any]], title: str) -> Mapping[str, Any]:
    """Give the panel of this title, in rows and outside of them.

    Raises:
        KeyError: There is none.
    """
    for panel in [*panels, *(inner for row in panels for inner in row.get("panels") or ())]:
        if panel.get("title") == title and panel.get("type") != "row":
            return panel
    raise KeyError(title)


def _render_clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
