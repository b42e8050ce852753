"""Read every query of a Grafana dashboard: panels in rows and collapsed rows, variables, annotations."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from stack.telemetry.contract.datasources import Datasources
from stack.telemetry.contract.panel_look import read_no_value, read_step_seconds, read_thresholds, read_unit
from stack.telemetry.contract.query import Fault, Place, Query, QueryFile
from stack.telemetry.contract.variables import find_many_with_equal, read_values, substitute

# `label_values(up, job)`, `query_result(…)`, `metrics(…)`: functions of Grafana around PromQL.
# Source: https://grafana.com/docs/grafana/latest/datasources/prometheus/template-variables/#use-query-variables
_LABEL_VALUES = re.compile(r"^\s*label_values\((?:(.*),)?\s*([A-Za-z_]\w*|\$\{?\w+\}?)\s*\)\s*$", re.DOTALL)
_QUERY_RESULT = re.compile(r"^\s*query_result\((.*)\)\s*$", re.DOTALL)
_NO_PROMQL = re.compile(r"^\s*(?:label_names\(|metrics\()")


def read_dashboard(path: str, board: Mapping[str, Any], known_datasources: Sequence[str] = ()) -> QueryFile:
    """Give the queries of a dashboard.

    Args:
        path: The file, for the places.
        board: The dashboard in the classic schema.
        known_datasources: Uids that are provisioned together with it, and so are not hard-coded.

    Source:
        https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/
    """
    reader = _Reader(path, board, known_datasources)
    queries = tuple(reader.read())
    uid = board.get("uid")
    return QueryFile(path, queries, tuple(reader.find_faults()), uids=(str(uid),) if uid else ())


class _Reader:
    """Walks one dashboard."""

    def __init__(self, path: str, board: Mapping[str, Any], known_datasources: Sequence[str]) -> None:
        self._path = path
        self._board = board
        self._faults: list[Fault] = []
        self._variables = [item for item in (board.get("templating") or {}).get("list") or [] if item]
        self._values = read_values(self._variables, board.get("__inputs") or ())
        self._sources = Datasources(board, known_datasources)

    def read(self) -> Iterator[Query]:
        yield from self._read_panels(self._board.get("panels") or [], None)
        # Before schema 16 panels lay in rows.
        for row in self._board.get("rows") or []:
            yield from self._read_panels(row.get("panels") or [], row.get("title"))
        yield from self._read_variables()
        yield from self._read_annotations()

    def find_faults(self) -> Iterator[Fault]:
        yield from self._faults
        yield from self._sources.find_fixed()

    def _read_panels(self, panels: Sequence[Mapping[str, Any]], row: str | None) -> Iterator[Query]:
        for panel in panels:
            if panel.get("type") == "row":
                row = panel.get("title") or row
                yield from self._read_panels(panel.get("panels") or [], row)
                continue
            yield from self._read_panel(self._open_library(panel, row), row)

    def _open_library(self, panel: Mapping[str, Any], row: str | None) -> Mapping[str, Any]:
        """Give the panel that a reference means: an export has it with it."""
        library = panel.get("libraryPanel")
        if not isinstance(library, Mapping) or panel.get("targets"):
            return panel
        found = (self._board.get("__elements") or {}).get(library.get("uid")) or library
        if isinstance(found.get("model"), Mapping):
            return {**found["model"], "title": panel.get("title") or found["model"].get("title")}
        name = library.get("name", "?")
        message = f"the library panel `{name}` is not in this file: its queries are not checked"
        hint = "export the dashboard for sharing with another instance: that has its library panels in it"
        place = Place(self._path, "panel", _title(panel), row=row)
        self._faults.append(Fault("not-understood", place, message, hint))
        return panel

    def _read_panel(self, panel: Mapping[str, Any], row: str | None) -> Iterator[Query]:
        for target in panel.get("targets") or []:
            place = Place(self._path, "panel", _title(panel), str(target.get("refId", "")), row)
            text = target.get("expr")
            if not isinstance(text, str) or not text.strip():
                continue
            if not self._sources.is_prometheus(place, target.get("datasource"), panel.get("datasource")):
                continue
            yield self._build(
                place,
                text,
                unit=read_unit(panel, place.ref),
                thresholds=read_thresholds(panel),
                no_value=read_no_value(panel),
                is_instant=bool(target.get("instant")) and not target.get("range"),
                step_seconds=read_step_seconds(panel, target),
            )

    def _read_variables(self) -> Iterator[Query]:
        for item in self._variables:
            if item.get("type") != "query":
                continue
            text = item.get("query") or item.get("definition") or ""
            if isinstance(text, Mapping):
                text = text.get("query") or ""
            place = Place(self._path, "variable", str(item.get("name")))
            expr, label = _find_expression(str(text))
            if expr is not None and self._sources.is_prometheus(place, item.get("datasource")):
                yield self._build(place, expr, label=label)

    def _read_annotations(self) -> Iterator[Query]:
        for item in (self._board.get("annotations") or {}).get("list") or []:
            text = item.get("expr") or (item.get("target") or {}).get("expr")
            place = Place(self._path, "annotation", str(item.get("name", "")))
            if text and self._sources.is_prometheus(place, item.get("datasource")):
                yield self._build(place, str(text))

    def _build(self, place: Place, text: str, **more: Any) -> Query:
        many, values = find_many_with_equal(text, self._values), self._values
        if text.lstrip().startswith("{"):
            # Prometheus refuses a selector without a name that nothing is left out of.
            values = {name: replace(one, widest=".+") if one.widest == ".*" else one for name, one in values.items()}
        return Query(place, text, substitute(text, values), many_with_equal=many, **more)


def _title(panel: Mapping[str, Any]) -> str:
    return str(panel.get("title") or f"panel {panel.get('id', '?')}")


def _find_expression(text: str) -> tuple[str | None, str | None]:
    """Give the PromQL in a variable's query and the label whose values it lists; None where there is none."""
    values = _LABEL_VALUES.match(text)
    if values:
        label = None if values[2].startswith("$") else values[2]
        return (values[1].strip(), label) if values[1] and values[1].strip() else (None, None)
    result = _QUERY_RESULT.match(text)
    if result:
        return result[1].strip(), None
    return (None if _NO_PROMQL.match(text) or not text.strip() else text), None
