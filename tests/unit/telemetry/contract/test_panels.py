"""A panel tells its unit, its thresholds and its steps, and a dashboard which data source it asks."""

from __future__ import annotations

from typing import Any

import pytest

from stack.telemetry.contract.datasources import Datasources
from stack.telemetry.contract.panel_look import read_step_seconds, read_thresholds, read_unit
from stack.telemetry.contract.query import Place

PLACE = Place("b.json", "panel", "P", "A")
BOARD = {
    "__inputs": [{"name": "DS_LOGS", "type": "datasource", "pluginId": "loki"}],
    "templating": {"list": [{"name": "metrics", "type": "datasource", "query": "prometheus"}]},
}


def override(matcher: str, options: str, unit: str) -> dict[str, Any]:
    return {"matcher": {"id": matcher, "options": options}, "properties": [{"id": "unit", "value": unit}]}


def build(*overrides: dict[str, Any], **defaults: Any) -> dict[str, Any]:
    return {"type": "timeseries", "fieldConfig": {"defaults": defaults, "overrides": list(overrides)}}


def test_an_override_gives_a_query_its_own_unit_or_makes_it_unknown() -> None:
    assert read_unit(build(override("byFrameRefID", "B", "ms"), unit="s"), "A") == "s"
    assert read_unit(build(override("byFrameRefID", "A", "ms"), unit="s"), "A") == "ms"
    assert read_unit(build(override("byName", "Temperature", "celsius"), unit="s"), "A") == ""
    second = {"yaxes": [{"format": "bytes"}, {"format": "s"}], "seriesOverrides": [{"alias": "x", "yaxis": 2}]}
    assert read_unit(second, "A") == ""


def test_only_thresholds_that_somebody_sees_count() -> None:
    steps = {"steps": [{"value": None}, {"value": 80}]}
    assert read_thresholds(build(thresholds=steps)) == ()
    assert read_thresholds(build(thresholds=steps, custom={"thresholdsStyle": {"mode": "line"}})) == (80.0,)
    assert read_thresholds(build(thresholds=steps, color={"mode": "thresholds"})) == (80.0,)
    assert read_thresholds({**build(thresholds=steps), "type": "stat"}) == (80.0,)
    assert read_thresholds({**build(thresholds={**steps, "mode": "percentage"}), "type": "stat"}) == ()


@pytest.mark.parametrize(("written", "seconds"), [("1m", 60.0), (">30s", 30.0), ("", None), ("$step", None)])
def test_the_shortest_step_is_read(written: str, seconds: float | None) -> None:
    assert read_step_seconds({"interval": written}, {}) == seconds


@pytest.mark.parametrize(
    ("source", "is_prometheus"),
    [
        (None, True),
        ("Prometheus", True),
        ("$metrics", True),
        ("${DS_LOGS}", False),
        ("Loki logs", False),
        ({"uid": "${DS_LOGS}"}, False),
        ({"type": "grafana-amazonprometheus-datasource", "uid": "$x"}, True),
        ({"type": "tempo", "uid": "x"}, False),
        ({"type": "datasource", "uid": "-- Mixed --"}, True),
    ],
)
def test_the_language_is_that_of_the_data_source(source: Any, is_prometheus: bool) -> None:
    assert Datasources(BOARD, ()).is_prometheus(PLACE, None, source) == is_prometheus


def test_a_written_data_source_is_told_once() -> None:
    sources = Datasources(BOARD, ("known",))
    for uid in ("P1", "P1", "P1", "known", "$metrics"):
        assert sources.is_prometheus(PLACE, {"type": "prometheus", "uid": uid})
    [fault] = sources.find_fixed()
    assert "`P1` is written into it (here and in 2 more queries)" in fault.message
