"""Read every query of a Grafana dashboard: panels in rows and collapsed rows, variables, annotations."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stack.telemetry.contract.query import Fault, Kind, Place, Query, QueryFile
from stack.telemetry.contract.variables import read_values, substitute

# What a panel's target may ask in another language than PromQL, told by its data source's type.
_PROMETHEUS = ("prometheus", "")
# `label_values(up, job)`, `query_result(…)`, `metrics(…)`: functions of Grafana around PromQL.
# Source: https://grafana.com/docs/grafana/latest/datasources/prometheus/template-variables/#use-query-variables
_LABEL_VALUES = re.compile(r"^\s*label_values\((?:(.*),)?\s*([A-Za-z_]\w*)\s*\)\s*$", re.DOTALL)
_QUERY_RESULT = re.compile(r"^\s*query_result\((.*)\)\s*$", re.DOTALL)
_NO_PROMQL = re.compile(r"^\s*(?:label_names\(|metrics\()")
_BUILT_IN = ("-- Grafana --", "-- Mixed --", "-- Dashboard --", "grafana", "datasource")


def read_dashboard(path: str, document: Mapping[str, Any], known_datasources: Sequence[str] = ()) -> QueryFile:
    """Give the queries of a dashboard.

    Args:
        path: The file, for the places.
        document: The JSON: a dashboard, or one wrapped by Grafana's API or export (`{"dashboard": …}`, `{"spec": …}`).
        known_datasources: Uids that are provisioned together with it, and so are not hard-coded.

    Source:
        https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/ (classic schema)
        and .../as-code/observability-as-code/schema-v2/ (`elements`, which is not read here).
    """
    board = _unwrap(document)
    faults = list(_find_not_understood(path, board))
    reader = _Reader(path, board, known_datasources, faults)
    queries = tuple(reader.read())
    return QueryFile(path, queries, tuple(faults), uid=board.get("uid"))


def _unwrap(document: Mapping[str, Any]) -> Mapping[str, Any]:
    for key in ("dashboard", "spec"):
        inner = document.get(key)
        if isinstance(inner, Mapping) and "panels" not in document:
            return inner
    return document


def _find_not_understood(path: str, board: Mapping[str, Any]) -> Iterator[Fault]:
    place = Place(path, "panel", str(board.get("title", "")))
    if "elements" in board:
        message = "this is Grafana's schema v2, whose elements are not read"
        yield Fault("not-understood", place, message, "export it in the classic schema (Export, classic model)")
    elif "panels" not in board and "rows" not in board:
        yield Fault("not-understood", place, "it has neither panels nor rows: no dashboard in Grafana's classic schema")


class _Reader:
    """Walks one dashboard."""

    def __init__(
        self, path: str, board: Mapping[str, Any], known_datasources: Sequence[str], faults: list[Fault]
    ) -> None:
        self._path = path
        self._board = board
        self._known = {*known_datasources, *_BUILT_IN}
        self._faults = faults
        self._variables = [item for item in (board.get("templating") or {}).get("list") or [] if item]
        self._values = read_values(self._variables)

    def read(self) -> Iterator[Query]:
        yield from self._read_panels(self._board.get("panels") or [], None)
        # Before schema 16 panels lay in rows.
        for row in self._board.get("rows") or []:
            yield from self._read_panels(row.get("panels") or [], row.get("title"))
        yield from self._read_variables()
        yield from self._read_annotations()

    def _read_panels(self, panels: Sequence[Mapping[str, Any]], row: str | None) -> Iterator[Query]:
        for panel in panels:
            if panel.get("type") == "row":
                row = panel.get("title") or row
                yield from self._read_panels(panel.get("panels") or [], row)
                continue
            yield from self._read_panel(panel, row)

    def _read_panel(self, panel: Mapping[str, Any], row: str | None) -> Iterator[Query]:
        title = str(panel.get("title") or f"panel {panel.get('id', '?')}")
        if "libraryPanel" in panel and not panel.get("targets"):
            name = (panel["libraryPanel"] or {}).get("name", "?")
            message = f"the library panel `{name}` is not in this file: its queries are not checked"
            self._faults.append(Fault("not-understood", Place(self._path, "panel", title, row=row), message))
        defaults = (panel.get("fieldConfig") or {}).get("defaults") or {}
        steps = ((defaults.get("thresholds") or {}).get("steps")) or []
        thresholds = tuple(float(step["value"]) for step in steps if isinstance(step.get("value"), int | float))
        for target in panel.get("targets") or []:
            place = Place(self._path, "panel", title, str(target.get("refId", "")), row)
            text = target.get("expr")
            if not isinstance(text, str) or not text.strip():
                continue
            if not self._is_prometheus(place, target.get("datasource") or panel.get("datasource")):
                continue
            yield Query(
                place,
                text,
                substitute(text, self._values),
                unit=str(defaults.get("unit") or _old_unit(panel)),
                thresholds=thresholds,
                no_value=str(defaults.get("noValue") or ""),
                is_instant=bool(target.get("instant")) and not target.get("range"),
            )

    def _read_variables(self) -> Iterator[Query]:
        for item in self._variables:
            if item.get("type") != "query":
                continue
            text = item.get("query") or item.get("definition") or ""
            if isinstance(text, Mapping):
                text = text.get("query") or ""
            place = Place(self._path, "variable", str(item.get("name")))
            expr = _find_expression(str(text))
            if expr is not None and self._is_prometheus(place, item.get("datasource")):
                yield self._build(place, expr)

    def _read_annotations(self) -> Iterator[Query]:
        for item in (self._board.get("annotations") or {}).get("list") or []:
            text = item.get("expr") or (item.get("target") or {}).get("expr")
            place = Place(self._path, "annotation", str(item.get("name", "")))
            if text and self._is_prometheus(place, item.get("datasource")):
                yield self._build(place, str(text))

    def _build(self, place: Place, text: str) -> Query:
        return Query(place, text, substitute(text, self._values))

    def _is_prometheus(self, place: Place, source: Any) -> bool:
        """Tell whether a data source speaks PromQL, and note one that is written down by its uid."""
        kind, uid = ("", source) if isinstance(source, str) else _read_source(source)
        if kind not in _PROMETHEUS:
            return False
        if uid and not uid.startswith(("$", "[[")) and uid not in self._known:
            message = f"the data source `{uid}` is written into it: elsewhere it has another uid"
            hint = "use a variable of type datasource: `${datasource}`"
            self._faults.append(Fault("fixed-datasource", place, message, hint))
        return True


def _read_source(source: Any) -> tuple[str, str]:
    found: Mapping[str, Any] = source or {}
    kind = str(found.get("type") or "")
    return ("" if kind in ("datasource", "prometheus") else kind), str(found.get("uid") or "")


def _old_unit(panel: Mapping[str, Any]) -> str:
    """Give the unit of a panel of before Grafana 7: `graph` has it on its axis, `singlestat` as its format."""
    axes: Kind | Any = panel.get("yaxes") or [{}]
    return str(axes[0].get("format") or panel.get("format") or "")


def _find_expression(text: str) -> str | None:
    """Give the PromQL in a variable's query, or None where there is none."""
    values = _LABEL_VALUES.match(text)
    if values:
        return values[1].strip() if values[1] else None
    result = _QUERY_RESULT.match(text)
    if result:
        return result[1].strip()
    return None if _NO_PROMQL.match(text) or not text.strip() else text
