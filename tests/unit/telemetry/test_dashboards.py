from __future__ import annotations

import json
import math

import pytest

from stack.errors import ServiceApiError
from stack.telemetry.dashboards import (
    PanelQuery,
    find_dead_panels,
    load_dashboards,
    parse_dashboard,
    run_panel_queries,
    substitute_variables,
)
from stack.telemetry.prometheus_api import Series

BOARD = {
    "uid": "board",
    "title": "Board",
    "templating": {
        "list": [
            {"type": "datasource", "name": "ds", "current": {"value": "prometheus"}},
            {"type": "query", "name": "model_name", "includeAll": True, "allValue": ".*"},
            {"type": "query", "name": "engine", "includeAll": True},
            {"type": "custom", "name": "op", "current": {"value": "max"}},
            {"type": "custom", "name": "both", "current": {"value": ["a", "b"]}},
        ]
    },
    "panels": [
        {"type": "row", "id": 1, "title": "Open", "panels": []},
        {"type": "text", "id": 2, "title": "No query"},
        {
            "type": "stat",
            "id": 3,
            "title": "TTFT",
            "fieldConfig": {"defaults": {"noValue": "No traffic"}},
            "targets": [{"refId": "A", "expr": "ttft"}, {"refId": "B", "expr": ""}],
        },
        {
            "type": "row",
            "id": 4,
            "title": "Collapsed",
            "panels": [{"type": "stat", "id": 5, "title": "Up", "targets": [{"refId": "A", "expr": "up"}]}],
        },
    ],
}


def series(*values: float) -> tuple[Series, ...]:
    return tuple(Series({}, ((0.0, value),)) for value in values)


def test_every_query_is_found_those_in_collapsed_rows_included():
    board = parse_dashboard(json.dumps(BOARD))
    assert board.queries == (
        PanelQuery("board", "TTFT", 3, "A", "ttft", "No traffic"),
        PanelQuery("board", "Up", 5, "A", "up"),
    )


def test_variables_stand_for_everything():
    assert parse_dashboard(json.dumps(BOARD)).variables == {
        "model_name": ".*",
        "engine": ".*",
        "op": "max",
        "both": "a|b",
    }


@pytest.mark.parametrize(
    ("expr", "plain"),
    [
        ('rate(a{m=~"$model_name"}[$__rate_interval])', 'rate(a{m=~".*"}[1m])'),
        ("a[${__interval}]", "a[15s]"),
        ('a{m=~"${model_name:regex}"}', 'a{m=~".*"}'),
        ('a{m="[[model_name]]"}', 'a{m=".*"}'),
        ("increase(a[$__range])", "increase(a[1h])"),
        ('label_replace(a, "x", "$1", "y", "(.*)")', 'label_replace(a, "x", "$1", "y", "(.*)")'),
        ("a[5m]", "a[5m]"),
    ],
)
def test_variables_are_put_in(expr, plain):
    assert substitute_variables(expr, {"model_name": ".*"}) == plain


def test_a_variable_without_a_value_is_an_error():
    with pytest.raises(ValueError, match=r"`\$nope` has no value"):
        substitute_variables("a[$nope]", {})


def test_what_waits_for_nothing_must_have_data_and_what_waits_for_traffic_only_after_it():
    board = parse_dashboard(json.dumps(BOARD))
    results = run_panel_queries([board], lambda expr: ())
    assert [result.query.panel for result in find_dead_panels(results, happened=())] == ["Up"]
    assert [result.query.panel for result in find_dead_panels(results, happened={"traffic"})] == [
        "TTFT",
        "Up",
    ]


def test_a_panel_of_nothing_but_nan_is_dead():
    results = run_panel_queries([parse_dashboard(json.dumps(BOARD))], lambda expr: series(math.nan, math.nan))
    assert all(result.is_dead for result in results)
    assert str(results[1]) == "board: Up (A): 2 series, 0 with a number"


def test_a_panel_with_one_number_is_alive_and_zero_is_a_number():
    results = run_panel_queries([parse_dashboard(json.dumps(BOARD))], lambda expr: series(math.nan, 0.0))
    assert find_dead_panels(results, happened={"traffic"}) == ()


def test_a_refused_query_is_dead_even_without_traffic():
    def refuse(expr):
        raise ServiceApiError("prometheus", "http://p/api/v1/query", "parse error")

    results = run_panel_queries([parse_dashboard(json.dumps(BOARD))], refuse)
    dead = find_dead_panels(results, happened=())
    assert [result.query.panel for result in dead] == ["TTFT", "Up"]
    assert "parse error" in str(dead[0])


def test_a_callers_variables_win():
    board = parse_dashboard(
        json.dumps(BOARD | {"panels": [{"id": 1, "title": "x", "targets": [{"refId": "A", "expr": "a[$op]"}]}]})
    )
    asked = []
    run_panel_queries([board], lambda expr: asked.append(expr) or (), variables={"op": "5m"})
    assert asked == ["a[5m]"]


def test_a_folders_dashboards_come_by_file_name(tmp_path):
    for uid in ("b", "a"):
        (tmp_path / f"{uid}.json").write_text(json.dumps(BOARD | {"uid": uid}))
    (tmp_path / "README.md").write_text("no dashboard")
    assert [board.uid for board in load_dashboards(tmp_path)] == ["a", "b"]


def test_what_is_no_dashboard_is_refused():
    with pytest.raises(ValueError, match="Expecting value"):
        parse_dashboard("<html>")
    with pytest.raises(KeyError, match="uid"):
        parse_dashboard("{}")
