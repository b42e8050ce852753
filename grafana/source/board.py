"""What every dashboard has: the question that it answers, links to the others, the model to look at, annotations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models

from source.layout import Section, place_sections
from source.panels import DATASOURCE, build_text

_GRAFANA = common_models.DataSourceRef(type_val="grafana", uid="-- Grafana --")
TAG = "stack"


@dataclass(frozen=True)
class Board:
    """What a dashboard is about.

    Attributes:
        title: Its name.
        question: The question that it answers.
        reading: How to read it, from the top; Markdown.
        asks_model: Whether its panels ask for a model; the choice is carried along where they do not.
        time: How far back it looks at first.
        refresh: How often it asks anew.
    """

    title: str
    question: str
    reading: str
    asks_model: bool = True
    time: str = "now-1h"
    refresh: str = "10s"


class _ShownLink(dashboard.DashboardLink):
    """A link above the panels: the SDK puts every link into a menu, and has no way to leave that out."""

    def build(self) -> models.DashboardLink:
        link = super().build()
        link.placement = None  # type: ignore[assignment]
        return link


def build_board(uid: str, about: Board, sections: Sequence[Section]) -> dashboard.Dashboard:
    """Give a dashboard with its sections."""
    board = (
        dashboard.Dashboard(about.title)
        .uid(uid)
        .description(about.question)
        .tags([TAG])
        .readonly()
        .timezone("browser")
        .time(about.time, "now")
        .refresh(about.refresh)
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(_build_links())
        .annotation(_build_annotations())
        .with_variable(_build_model_variable(about))
    )
    place_sections(board, build_text(about.question, about.reading), sections)
    return board


def _build_links() -> dashboard.DashboardLink:
    """Give a link to every dashboard of ours, which takes the time range and the variables along."""
    return (
        _ShownLink("Dashboards")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(False)
        .keep_time(True)
        .include_vars(True)
        .target_blank(False)
    )


def _build_model_variable(about: Board) -> dashboard.QueryVariable:
    # The served model changes within the retention: "All" is right with one model too, and with none yet.
    everything = models.VariableOption(selected=True, text="All", value="$__all")
    shown = models.VariableHide.DONT_HIDE if about.asks_model else models.VariableHide.HIDE_VARIABLE
    return (
        dashboard.QueryVariable("model_name")
        .label("Model")
        .description("The served model name")
        .hide(shown)
        .datasource(DATASOURCE)
        .query("label_values(vllm:num_requests_running, model_name)")
        .definition("label_values(vllm:num_requests_running, model_name)")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(everything)
        .options([])
    )


def _build_annotations() -> dashboard.AnnotationQuery:
    tags = dashboard.AnnotationTarget().type("tags").tags([TAG]).match_any(True).limit(100)
    return (
        dashboard.AnnotationQuery()
        .name("Boots, smokes and other runs")
        .datasource(_GRAFANA)
        .enable(True)
        .icon_color("blue")
        .target(tags)
    )
