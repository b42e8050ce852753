"""Turn a dashboard of Grafana's schema v2 into the classic one, as far as queries and what they show go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Object = Mapping[str, Any]


def build_classic(board: Object) -> dict[str, Any]:
    """Give the classic form of a dashboard.

    Args:
        board: The `spec` of schema v2, v2alpha1 or v2beta1.

    Source:
        https://grafana.com/docs/grafana/latest/as-code/observability-as-code/schema-v2/
    """
    rows = dict(_name_rows(board.get("layout") or {}, None))
    panels = []
    for name, element in (board.get("elements") or {}).items():
        panel = _build_panel(element.get("spec") or {})
        row = rows.get(name)
        panels.append({"type": "row", "title": row, "panels": [panel]} if row else panel)
    return {
        "title": board.get("title"),
        "panels": panels,
        "templating": {"list": [_build_variable(one) for one in board.get("variables") or []]},
        "annotations": {"list": [_build_annotation(one.get("spec") or {}) for one in board.get("annotations") or []]},
    }


def _name_rows(layout: Object, title: str | None) -> Iterator[tuple[str, str | None]]:
    """Give each element with the innermost row or tab that holds it."""
    spec = layout.get("spec") or {}
    for item in (*(spec.get("rows") or ()), *(spec.get("tabs") or ()), *(spec.get("items") or ())):
        inner = item.get("spec") or {}
        within = inner.get("title") or title
        if "element" in inner:
            yield str(inner["element"].get("name")), title
        yield from _name_rows(inner.get("layout") or {}, within)
        for element in inner.get("elements") or ():
            yield from _name_rows({"spec": {"items": [element]}}, within)


def _build_panel(spec: Object) -> dict[str, Any]:
    data = (spec.get("data") or {}).get("spec") or {}
    look = spec.get("vizConfig") or {}
    panel = {
        "id": spec.get("id"),
        "title": spec.get("title"),
        "type": look.get("group") or look.get("kind"),
        "fieldConfig": (look.get("spec") or {}).get("fieldConfig"),
        "interval": (data.get("queryOptions") or {}).get("interval"),
        "targets": [_build_target(one.get("spec") or {}) for one in data.get("queries") or []],
    }
    return panel | ({"libraryPanel": spec["libraryPanel"]} if "libraryPanel" in spec else {})


def _build_target(spec: Object) -> dict[str, Any]:
    query = spec.get("query") or {}
    return {**(query.get("spec") or {}), "refId": spec.get("refId"), "datasource": _build_source(query, spec)}


def _build_source(query: Object, around: Object) -> dict[str, Any]:
    """Give the data source: v2 names it in the query, v2alpha1 beside it."""
    old = around.get("datasource") or {}
    kind = query.get("group") or (query.get("kind") if query.get("kind") != "DataQuery" else None)
    return {"type": kind or old.get("type"), "uid": (query.get("datasource") or {}).get("name") or old.get("uid")}


def _build_variable(variable: Object) -> dict[str, Any]:
    spec = variable.get("spec") or {}
    kind = str(variable.get("kind", "")).removesuffix("Variable").lower()
    built = {**spec, "type": "textbox" if kind == "text" else kind}
    query = spec.get("query")
    if isinstance(query, Mapping):
        text = query.get("spec") or {}
        built["query"] = text.get("query") or text.get("expr") or spec.get("definition") or ""
        built["datasource"] = _build_source(query, spec)
    return built | ({"query": spec.get("pluginId")} if kind == "datasource" else {})


def _build_annotation(spec: Object) -> dict[str, Any]:
    query = spec.get("query") or {}
    return {**(query.get("spec") or {}), "name": spec.get("name"), "datasource": _build_source(query, spec)}
