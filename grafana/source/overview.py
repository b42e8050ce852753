"""*Overview*: is it up, how fast, how full, what runs."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models

from source import fast, full, runs, up
from source.layout import place_sections
from source.panels import DATASOURCE

_GRAFANA = common_models.DataSourceRef(type_val="grafana", uid="-- Grafana --")


def build_dashboard(uid: str) -> dashboard.Dashboard:
    """Give the dashboard."""
    board = (
        dashboard.Dashboard("Overview")
        .uid(uid)
        .description("One vLLM engine: is it up, how fast, how full, what runs, and did it answer correctly.")
        .tags(["stack"])
        .readonly()
        .timezone("browser")
        .time("now-1h", "now")
        .refresh("10s")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .annotation(_build_annotations())
        .with_variable(_build_model_variable())
    )
    sections = [up.build_section(), fast.build_section(), full.build_section(), *runs.build_sections()]
    place_sections(board, sections)
    return board


def _build_model_variable() -> dashboard.QueryVariable:
    # The served model changes within the retention: "All" is right with one model too, and with none yet.
    everything = models.VariableOption(selected=True, text="All", value="$__all")
    return (
        dashboard.QueryVariable("model_name")
        .label("Model")
        .description("The served model name")
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
    tags = dashboard.AnnotationTarget().type("tags").tags(["stack"]).match_any(True).limit(100)
    return (
        dashboard.AnnotationQuery()
        .name("Boots, smokes and replays")
        .datasource(_GRAFANA)
        .enable(True)
        .icon_color("blue")
        .target(tags)
    )
