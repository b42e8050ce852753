"""Which language a data source of a dashboard speaks, and which of them are written down by their uid."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from stack.telemetry.contract.query import Fault, Place

_BUILT_IN = ("-- Grafana --", "-- Mixed --", "-- Dashboard --", "grafana", "datasource", "default")
_VARIABLE = re.compile(r"\$\{?(\w+)\}?|\[\[(\w+)\]\]")
# Data sources that are asked PromQL. Source: the plugins' ids on https://grafana.com/grafana/plugins/
_PROMETHEUS = re.compile(r".*(prometheus|mimir|cortex|thanos|amazonprometheus|azureprometheus).*")
# A dashboard of before Grafana 8.3 writes a data source as its name: one that says another language is none of ours.
_OTHER = re.compile(
    r"\b(loki|tempo|jaeger|zipkin|elastic\w*|opensearch|influx\w*|graphite|mysql|postgres\w*|mssql|cloudwatch|clickhouse"
    r"|pyroscope|testdata|infinity|json|sqlite|victorialogs|stackdriver|azure ?monitor)\b",
    re.IGNORECASE,
)


class Datasources:
    """The data sources of one dashboard.

    Args:
        board: The dashboard.
        known: Uids that are provisioned together with it, and so are not hard-coded.
    """

    def __init__(self, board: Mapping[str, Any], known: Sequence[str]) -> None:
        self._known = {*known, *_BUILT_IN}
        self._types = dict(_read_types(board))
        self._fixed: dict[str, tuple[Place, int]] = {}

    def is_prometheus(self, place: Place, *sources: Any) -> bool:
        """Tell whether a query is PromQL, and note a data source that is written down.

        Args:
            place: The query's place.
            sources: The data source of the target, else of the panel, as they are written.
        """
        kind, uid = _read_source(next((source for source in sources if source), None))
        variable = _VARIABLE.fullmatch(uid)
        if variable:
            kind = kind or self._types.get(variable[1] or variable[2], "")
        elif not kind and _OTHER.search(uid):
            return False
        if kind and not _PROMETHEUS.fullmatch(kind.lower()):
            return False
        if uid and not variable and uid not in self._known:
            first, count = self._fixed.get(uid, (place, 0))
            self._fixed[uid] = (first, count + 1)
        return True

    def find_fixed(self) -> Iterator[Fault]:
        """Give each data source that is written down, once, at the first query that asks it."""
        for uid, (place, count) in self._fixed.items():
            more = f" (here and in {count - 1} more queries)" if count > 1 else ""
            message = f"the data source `{uid}` is written into it{more}: another Grafana calls its own otherwise"
            yield Fault("fixed-datasource", place, message, "use a variable of type datasource: `${datasource}`")


def _read_types(board: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give the plugin of each variable that is a data source, and of each that an import asks for."""
    inputs: Iterable[Mapping[str, Any]] = board.get("__inputs") or ()
    yield from ((str(one.get("name")), str(one.get("pluginId"))) for one in inputs if one.get("pluginId"))
    for item in (board.get("templating") or {}).get("list") or ():
        if item and item.get("type") == "datasource":
            yield str(item.get("name")), str(item.get("query") or "")


def _read_source(source: Any) -> tuple[str, str]:
    if not isinstance(source, Mapping):
        return "", str(source or "")
    kind = str(source.get("type") or "")
    return ("" if kind == "datasource" else kind), str(source.get("uid") or "")
