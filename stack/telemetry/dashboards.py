"""Read our dashboards' queries and run them, to find a panel that shows nothing before a person does."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from stack.errors import ServiceApiError
from stack.telemetry.prometheus_api import Series

# What a panel says while it has no data tells what it waits for; any other has data on every healthy stack.
WAITS_FOR = MappingProxyType(
    {
        "No traffic": "traffic",
        "No boot recorded": "boot",
        "No smoke run yet": "smoke",
        "Not exported": "process-metrics",
        "No compile cache": "compile-cache",
        "Not of this version": "newer-engine",
        "Nothing running": "running",
        "Stays": "image-expiry",
        "No alert": "alert",
        "No request yet": "request",
        "No tool call parser": "tool-calls",
        "No LoRA": "lora",
        "No speculative decoding": "spec-decode",
        "No KV block metrics": "kv-block-metrics",
        "No GPU": "gpu",
        "Not on this GPU": "gpu-fields",
        "Not judged yet": "slo",
        "No baseline": "baseline",
        "No replay yet": "replay",
        "No throughput run yet": "bench",
        "No Grafana": "grafana",
    }
)

# What Grafana puts in for its own variables on a one-hour view of metrics scraped every 5 to 15 seconds.
# Source: https://grafana.com/docs/grafana/latest/dashboards/variables/add-template-variables/#global-variables
GRAFANA_VARIABLES = MappingProxyType(
    {
        "__interval": "15s",
        "__interval_ms": "15000",
        "__range": "1h",
        "__range_ms": "3600000",
        "__range_s": "3600",
        "__rate_interval": "1m",
    }
)

_VARIABLE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?::\w+)?\})|\[\[([A-Za-z_]\w*)(?::\w+)?\]\]")


@dataclass(frozen=True)
class PanelQuery:
    """One query of one panel.

    Attributes:
        dashboard: The dashboard's uid.
        panel: The panel's title.
        panel_id: The panel's number.
        ref: The query's letter.
        expr: The PromQL, Grafana's variables still in it.
        no_value: What the panel shows while the query gives nothing.
    """

    dashboard: str
    panel: str
    panel_id: int
    ref: str
    expr: str
    no_value: str = ""

    @property
    def waits_for(self) -> str | None:
        """What must happen before this query gives data, one of `WAITS_FOR`'s values; None: nothing."""
        return WAITS_FOR.get(self.no_value)

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.panel} ({self.ref})"


@dataclass(frozen=True)
class Dashboard:
    """What a test needs to know of a dashboard.

    Attributes:
        uid: Its uid.
        title: Its title.
        queries: Every Prometheus query, those in collapsed rows included, in the dashboard's order.
        variables: Its own variables with the value that shows everything.
    """

    uid: str
    title: str
    queries: tuple[PanelQuery, ...]
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PanelResult:
    """What became of one query.

    Attributes:
        query: The query.
        expr: The PromQL that was run.
        series_count: How many series came back.
        number_count: How many of them are numbers, not NaN.
        error: Why Prometheus refused it; None where it did not.
    """

    query: PanelQuery
    expr: str
    series_count: int = 0
    number_count: int = 0
    error: str | None = None

    @property
    def is_dead(self) -> bool:
        """Whether a person would see nothing, or an error."""
        return self.error is not None or self.number_count == 0

    def __str__(self) -> str:
        if self.error is not None:
            return f"{self.query}: {self.error}"
        return f"{self.query}: {self.series_count} series, {self.number_count} with a number"


def parse_dashboard(text: str) -> Dashboard:
    """Give the queries of a dashboard in Grafana's classic schema.

    Raises:
        ValueError: The text is not JSON.
        KeyError: It is no such dashboard.
    """
    document = json.loads(text)
    variables = document.get("templating", {}).get("list", [])
    return Dashboard(
        uid=document["uid"],
        title=document["title"],
        queries=tuple(_panel_queries(document["uid"], document["panels"])),
        variables={item["name"]: _widest_value(item) for item in variables if item["type"] != "datasource"},
    )


def load_dashboards(folder: Path) -> tuple[Dashboard, ...]:
    """Read every dashboard in a folder, by file name."""
    return tuple(parse_dashboard(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json")))


def substitute_variables(expr: str, values: Mapping[str, str]) -> str:
    """Give PromQL without Grafana variables.

    Args:
        expr: PromQL with `$name`, `${name}`, `${name:format}` or `[[name]]`.
        values: The value of each; Grafana's own have defaults.

    Raises:
        ValueError: A variable has no value.
    """
    known = GRAFANA_VARIABLES | values

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2] or match[3]
        if name not in known:
            raise ValueError(f"`${name}` has no value in `{expr}`")
        return known[name]

    return _VARIABLE.sub(value, expr)


def run_panel_queries(
    dashboards: Iterable[Dashboard],
    query: Callable[[str], Sequence[Series]],
    *,
    variables: Mapping[str, str] | None = None,
) -> tuple[PanelResult, ...]:
    """Run every query of every panel, each as an instant query, and give what became of it.

    Args:
        dashboards: The dashboards.
        query: Gives an expression's value now: `PrometheusApi.query`.
        variables: Values for variables, instead of those that show everything.
    """
    return tuple(
        _run_query(one, substitute_variables(one.expr, {**dashboard.variables, **(variables or {})}), query)
        for dashboard in dashboards
        for one in dashboard.queries
    )


def find_dead_panels(results: Iterable[PanelResult], *, happened: Collection[str]) -> tuple[PanelResult, ...]:
    """Give the results that should show something and do not, and those that Prometheus refused.

    Args:
        results: What became of each query.
        happened: Which of `WAITS_FOR`'s values (`traffic`, `boot`, `smoke`, …) this stack has seen.
    """
    return tuple(
        result
        for result in results
        if result.is_dead
        and (result.error is not None or result.query.waits_for is None or result.query.waits_for in happened)
    )


def _run_query(one: PanelQuery, expr: str, query: Callable[[str], Sequence[Series]]) -> PanelResult:
    try:
        series = query(expr)
    except ServiceApiError as err:
        return PanelResult(one, expr, error=err.message)
    numbers = sum(not math.isnan(item.value) for item in series)
    return PanelResult(one, expr, series_count=len(series), number_count=numbers)


def _panel_queries(uid: str, panels: Sequence[Mapping[str, Any]]) -> Iterator[PanelQuery]:
    for panel in panels:
        yield from _panel_queries(uid, panel.get("panels", ()))
        no_value = panel.get("fieldConfig", {}).get("defaults", {}).get("noValue", "")
        for target in panel.get("targets", ()):
            if target.get("expr"):
                yield PanelQuery(uid, panel["title"], panel["id"], target["refId"], target["expr"], no_value)


def _widest_value(variable: Mapping[str, Any]) -> str:
    if variable.get("includeAll"):
        return variable.get("allValue") or ".*"
    value = variable.get("current", {}).get("value", "")
    return "|".join(value) if isinstance(value, list) else str(value)
