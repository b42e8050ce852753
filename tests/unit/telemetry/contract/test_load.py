"""Dashboards and rules are found in whatever wraps them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from stack.telemetry.contract.load import load_query_file
from stack.telemetry.contract.query import Query

PANEL = {"type": "stat", "title": "Up", "targets": [{"refId": "A", "expr": "up"}]}
BOARD = {"uid": "b", "title": "Board", "panels": [PANEL]}
GROUPS = [{"name": "g", "rules": [{"alert": "Down", "expr": "up == 0"}]}]
RULES = {"groups": GROUPS}


def load(folder: Path, name: str, text: str) -> tuple[Query, ...]:
    path = folder / name
    path.write_text(text)
    file = load_query_file(path)
    assert file.faults == ()
    return file.queries


@pytest.mark.parametrize(
    ("document", "wanted"),
    [
        (BOARD, ["up"]),
        ({"dashboard": BOARD, "meta": {}}, ["up"]),
        ([BOARD, {**BOARD, "uid": "c"}], ["up", "up"]),
        ({"apiVersion": "dashboard.grafana.app/v1beta1", "metadata": {"name": "n"}, "spec": BOARD}, ["up"]),
        (
            {"kind": "ConfigMap", "data": {"b.json": json.dumps(BOARD), "rules.yaml": yaml.safe_dump(RULES)}},
            ["up", "up == 0"],
        ),
        ({"kind": "GrafanaDashboard", "spec": {"json": json.dumps(BOARD)}}, ["up"]),
        ({"kind": "PrometheusRule", "spec": RULES}, ["up == 0"]),
        ({"kind": "List", "items": [{"kind": "PrometheusRule", "spec": RULES}, {"kind": "Secret"}]}, ["up == 0"]),
        ({"additionalPrometheusRulesMap": {"mine": RULES}, "image": {"tag": "x"}}, ["up == 0"]),
        ({"result": {"uid": "l", "model": PANEL}}, ["up"]),
        ({"rows": [{"title": "Old", "panels": [PANEL]}]}, ["up"]),
        ({"groups": []}, []),
    ],
)
def test_what_wraps_a_dashboard_or_rules_is_opened(tmp_path: Path, document: Any, wanted: list[str]) -> None:
    found = load(tmp_path, "x.json", json.dumps(document))
    assert [query.text for query in found] == wanted
    assert [query.text for query in load(tmp_path, "x.yaml", yaml.safe_dump(document))] == wanted


def test_every_document_of_a_stream_is_read_and_a_byte_order_mark_is_none_of_it(tmp_path: Path) -> None:
    stream = yaml.safe_dump_all([{"kind": "Namespace"}, {"kind": "PrometheusRule", "spec": RULES}, None])
    assert len(load(tmp_path, "x.yaml", stream)) == 1
    assert len(load(tmp_path, "x.json", "\ufeff" + json.dumps(BOARD))) == 1


def test_a_template_and_a_broken_file_within_are_told_as_such(tmp_path: Path) -> None:
    template = tmp_path / "rules.yaml"
    template.write_text("{{- if .Values.rules }}\nkind: PrometheusRule\n{{- end }}\n")
    [fault] = load_query_file(template).faults
    assert (fault.rule, "template" in fault.message, "helm template" in str(fault.hint)) == ("unreadable", True, True)
    within = tmp_path / "map.yaml"
    within.write_text(yaml.safe_dump({"data": {"b.json": '{"panels": [}'}}))
    [fault] = load_query_file(within).faults
    assert (fault.rule, "a file inside of it" in fault.message) == ("unreadable", True)
    odd = tmp_path / "odd.json"
    odd.write_text(json.dumps({"panels": [{"title": "p", "yaxes": {"a": 1}, "targets": [{"expr": "up"}]}]}))
    assert [fault.rule for fault in load_query_file(odd).faults] == ["unreadable"]


def test_rules_that_grafana_judges_are_read_without_its_own_expressions(tmp_path: Path) -> None:
    steps = [
        {"refId": "A", "datasourceUid": "P1", "model": {"expr": "up"}},
        {
            "refId": "L",
            "datasourceUid": "L1",
            "model": {"expr": '{a="b"}', "datasource": {"type": "loki", "uid": "L1"}},
        },
        {"refId": "C", "datasourceUid": "__expr__", "model": {"type": "threshold", "expression": "A"}},
    ]
    rules = [{"title": "Down", "data": steps}, {"title": "Kept", "record": {"metric": "up:kept"}, "data": steps[:1]}]
    path = tmp_path / "alerting.yaml"
    path.write_text(yaml.safe_dump({"apiVersion": 1, "groups": [{"name": "g", "rules": rules}]}))
    file = load_query_file(path)
    assert [(query.place.kind, query.place.name, query.text) for query in file.queries] == [
        ("alert", "Down", "up"),
        ("alert", "Kept", "up"),
    ]
    assert (file.faults, file.records) == ((), {"up:kept"})


def test_a_rule_without_an_expression_is_a_fault_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": [{"alert": "A"}, *GROUPS[0]["rules"]]}]}))
    file = load_query_file(path)
    assert ([fault.place.name for fault in file.faults], len(file.queries)) == (["A"], 1)


def test_a_library_panel_is_read_where_the_export_has_it(tmp_path: Path) -> None:
    reference = {"title": "Mine", "libraryPanel": {"uid": "l", "name": "GPU"}}
    board = {"panels": [reference], "__elements": {"l": {"name": "GPU", "kind": 1, "model": PANEL}}}
    [query] = load(tmp_path, "b.json", json.dumps(board))
    assert (query.place.name, query.text) == ("Mine", "up")


def build_v2(*, is_alpha: bool) -> dict[str, Any]:
    def ask(kind: str, **spec: Any) -> dict[str, Any]:
        if is_alpha:
            return {"query": {"kind": kind, "spec": spec}, "datasource": {"type": kind, "uid": "$ds"}}
        return {"query": {"kind": "DataQuery", "group": kind, "datasource": {"name": "$ds"}, "spec": spec}}

    def panel(title: str, kind: str, expr: str) -> dict[str, Any]:
        queries = [{"kind": "PanelQuery", "spec": {"refId": "A", **ask(kind, expr=expr)}}]
        look = {"fieldConfig": {"defaults": {"unit": "s"}}}
        data = {"kind": "QueryGroup", "spec": {"queries": queries, "queryOptions": {"interval": "2m"}}}
        return {"kind": "Panel", "spec": {"title": title, "data": data, "vizConfig": {"kind": "stat", "spec": look}}}

    def item(name: str) -> dict[str, Any]:
        return {"kind": "GridLayoutItem", "spec": {"element": {"kind": "ElementReference", "name": name}}}

    grid = {"kind": "GridLayout", "spec": {"items": [item("one"), item("two")]}}
    spec = {
        "title": "Board",
        "elements": {"one": panel("P", "prometheus", 'up{job="$job"}'), "two": panel("L", "loki", "{}")},
        "layout": {"kind": "RowsLayout", "spec": {"rows": [{"spec": {"title": "Row", "layout": grid}}]}},
        "variables": [
            {"kind": "QueryVariable", "spec": {"name": "job", **ask("prometheus", query="label_values(up, job)")}},
            {"kind": "DatasourceVariable", "spec": {"name": "ds", "pluginId": "prometheus"}},
        ],
        "annotations": [
            {"kind": "AnnotationQuery", "spec": {"name": "Boots", **ask("prometheus", expr="changes(up[5m])")}}
        ],
    }
    return {"apiVersion": "dashboard.grafana.app/v2", "metadata": {"name": "uid"}, "spec": spec}


@pytest.mark.parametrize("is_alpha", [False, True])
def test_schema_v2_is_read_as_the_classic_one(tmp_path: Path, is_alpha: bool) -> None:
    path = tmp_path / "b.json"
    path.write_text(json.dumps(build_v2(is_alpha=is_alpha)))
    file = load_query_file(path)
    assert file.uids == ("uid",) and file.faults == ()
    assert [(query.place.kind, query.place.name, query.place.row, query.expr) for query in file.queries] == [
        ("panel", "P", "Row", 'up{job=~".*"}'),
        ("variable", "job", None, "up"),
        ("annotation", "Boots", None, "changes(up[5m])"),
    ]
    assert (file.queries[0].unit, file.queries[0].step_seconds, file.queries[1].label) == ("s", 120.0, "job")
