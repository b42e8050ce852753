"""Find the dashboards, panels and rules in a document, however they are wrapped."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import yaml

PartKind = Literal["dashboard", "schema-v2", "rules", "perses", "broken"]
# What a text in a document (a ConfigMap's file, an operator's `json: |`) must hold to be looked into.
_JSON_OF_GRAFANA = ("panels", "elements", "targets", "groups")
_YAML_OF_RULES = re.compile(r"^\s*groups:\s*$", re.MULTILINE)
_RESOURCE = "dashboard.grafana.app/"


@dataclass(frozen=True)
class Part:
    """One dashboard or one list of rule groups.

    Attributes:
        kind: What it is; `broken` is a text that looks like one and cannot be read.
        document: The dashboard (a single panel is wrapped as one), or the object that has `groups`.
        uid: The uid, where what wraps the dashboard says it.
        problem: Why it is broken.
    """

    kind: PartKind
    document: Mapping[str, Any] = field(default_factory=dict)
    uid: str | None = None
    problem: str = ""


def find_parts(node: Any, uid: str | None = None) -> Iterator[Part]:
    """Give every dashboard, panel and list of rule groups in a document.

    Kubernetes wraps them (`PrometheusRule`, `GrafanaDashboard`, a `ConfigMap` with files in it, a `List`), and so do
    Grafana's API (`{"dashboard": …}`, a library panel's `model`) and the values of Helm charts.

    Args:
        node: The document, or a part of it.
        uid: What Grafana's resource around it is called.

    Source:
        https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/
    """
    if isinstance(node, str):
        yield from _find_in_text(node)
    elif isinstance(node, list):
        for child in node:
            yield from find_parts(child, uid)
    elif isinstance(node, Mapping):
        if str(node.get("apiVersion", "")).startswith(_RESOURCE):
            uid = (node.get("metadata") or {}).get("name")
        kind = _tell_kind(node)
        if kind is not None:
            yield Part(kind, node, uid)
        elif _is_panel(node):
            yield Part("dashboard", {"panels": [node]}, uid)
        else:
            for child in node.values():
                yield from find_parts(child, uid)


def _tell_kind(node: Mapping[str, Any]) -> PartKind | None:
    panels, rows, elements, groups = (node.get(key) for key in ("panels", "rows", "elements", "groups"))
    if isinstance(elements, Mapping) and ("layout" in node or "variables" in node or not elements):
        return "schema-v2"
    if isinstance(panels, list) and all(isinstance(panel, Mapping) for panel in panels):
        return "dashboard"
    if isinstance(panels, Mapping) and "layouts" in node:
        return "perses"
    if _is_list_with(rows, "panels"):
        return "dashboard"
    return "rules" if groups == [] or _is_list_with(groups, "rules") else None


def _is_list_with(items: Any, key: str) -> bool:
    return isinstance(items, list) and bool(items) and all(isinstance(one, Mapping) and key in one for one in items)


def _is_panel(node: Mapping[str, Any]) -> bool:
    targets = node.get("targets")
    return isinstance(targets, list) and isinstance(node.get("type"), str) and _is_list_with(targets, "refId")


def _find_in_text(text: str) -> Iterator[Part]:
    try:
        if text.lstrip().startswith("{") and any(f'"{key}"' in text for key in _JSON_OF_GRAFANA):
            yield from find_parts(json.loads(text))
        elif _YAML_OF_RULES.search(text):
            yield from find_parts(yaml.load(text, Loader=Loader))
    except (ValueError, yaml.YAMLError) as err:
        yield Part("broken", problem=f"a file inside of it cannot be read: {' '.join(str(err).split())}")


# The C parser reads what the other one reads, ten times as fast.
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
