"""Read every query of rules: those of Prometheus, and those that Grafana judges itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stack.telemetry.contract.datasources import Datasources
from stack.telemetry.contract.query import Fault, Place, Query, QueryFile

# Grafana's own expressions (reduce, math, threshold) stand beside the queries whose results they take.
_EXPRESSIONS = ("__expr__", "-100")


def read_rules(path: str, document: Mapping[str, Any]) -> QueryFile:
    """Give the queries of rule groups, and the names that their recording rules make.

    Args:
        path: The file, for the places.
        document: The object that has `groups`.

    Source:
        https://prometheus.io/docs/prometheus/latest/configuration/recording_rules/ and
        https://grafana.com/docs/grafana/latest/alerting/set-up/provision-alerting-resources/file-provisioning/
    """
    queries: list[Query] = []
    faults: list[Fault] = []
    records: set[str] = set()
    for group in document["groups"]:
        for rule in group.get("rules") or []:
            name = str(group.get("name", ""))
            if isinstance(rule.get("data"), list):
                queries += _read_grafana_rule(path, rule)
            elif "expr" in rule and ("alert" in rule or "record" in rule):
                queries.append(_read_rule(path, rule, name))
            else:
                place = Place(path, "alert", str(rule.get("alert") or rule.get("record") or "?"), name)
                faults.append(Fault("unreadable", place, "it has no `expr`, or neither `alert` nor `record`"))
            records |= set(_read_record(rule))
    return QueryFile(path, tuple(queries), tuple(faults), records=frozenset(records))


def _read_rule(path: str, rule: Mapping[str, Any], group: str) -> Query:
    kind = "alert" if "alert" in rule else "record"
    # `expr: 1` is YAML for a number.
    text = str(rule["expr"])
    return Query(Place(path, kind, str(rule[kind]), group), text, text, is_instant=True)


def _read_grafana_rule(path: str, rule: Mapping[str, Any]) -> Iterator[Query]:
    for step in rule["data"]:
        model = step.get("model") or {}
        text, source = model.get("expr"), step.get("datasourceUid")
        place = Place(path, "alert", str(rule.get("title", "?")), str(step.get("refId", "")))
        if source in _EXPRESSIONS or not isinstance(text, str) or not text.strip():
            continue
        # A rule of Grafana's names its data source by uid: there is no other way.
        if Datasources({}, ()).is_prometheus(place, model.get("datasource"), source):
            yield Query(place, text, text, is_instant=bool(model.get("instant")))


def _read_record(rule: Mapping[str, Any]) -> Iterator[str]:
    record = rule.get("record")
    name = record.get("metric") if isinstance(record, Mapping) else record
    if name:
        yield str(name)
