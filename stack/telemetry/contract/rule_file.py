"""Read every query of a Prometheus rule file, and of a Kubernetes `PrometheusRule`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stack.telemetry.contract.query import Fault, Place, Query, QueryFile


def read_rules(path: str, document: Mapping[str, Any]) -> QueryFile:
    """Give the queries of a rule file, and the names that its recording rules make.

    Args:
        path: The file, for the places.
        document: The YAML: `groups`, or an object whose `spec` has them.

    Source:
        https://prometheus.io/docs/prometheus/latest/configuration/recording_rules/
    """
    groups = document.get("groups")
    if groups is None:
        groups = (document.get("spec") or {}).get("groups")
    if not isinstance(groups, list):
        fault = Fault("not-understood", Place(path, "record", ""), "it has no `groups`: no file of Prometheus rules")
        return QueryFile(path, faults=(fault,))
    queries = tuple(_read_groups(path, groups))
    records = frozenset(query.place.name for query in queries if query.place.kind == "record")
    return QueryFile(path, queries, records=records)


def _read_groups(path: str, groups: list[Mapping[str, Any]]) -> Iterator[Query]:
    for group in groups:
        for rule in group.get("rules") or []:
            kind = "alert" if "alert" in rule else "record"
            place = Place(path, kind, str(rule.get(kind, "?")), str(group.get("name", "")))
            # `expr: 1` is YAML for a number.
            text = str(rule.get("expr", ""))
            yield Query(place, text, text, is_instant=True)
