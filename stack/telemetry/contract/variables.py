"""Grafana's variables and macros in PromQL: what they are while nobody looks at the dashboard."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# What Grafana puts in on a one-hour view of a series that is scraped every 15 seconds; its rate interval is four
# scrapes. Source: https://grafana.com/docs/grafana/latest/dashboards/variables/add-template-variables/
# (global variables) and .../datasources/prometheus/template-variables/ ($__rate_interval).
MACROS: Mapping[str, str] = {
    "__interval": "15s",
    "__interval_ms": "15000",
    "__rate_interval": "1m",
    "__rate_interval_ms": "60000",
    "__range": "1h",
    "__range_s": "3600",
    "__range_ms": "3600000",
    "__from": "1700000000000",
    "__to": "1700003600000",
    "__dashboard": "dashboard",
    "__auto": "1m",
}

# `${name:format}`, `$name` and `[[name:format]]`; a format may carry arguments (`${__from:date:seconds}`).
_VARIABLE = re.compile(r"\$(\w+)|\$\{(\w+)(?:\.\w+)?(?::[^}]*)?\}|\[\[(\w+)(?::[^\]]*)?\]\]")
_RANGE = re.compile(r"\[\s*$")


def substitute(text: str, values: Mapping[str, str]) -> str:
    """Give the expression as Prometheus is asked it; a name that nobody knows stays as it is.

    Args:
        text: PromQL of a dashboard.
        values: What the dashboard's own variables stand for (`read_values`).
    """

    def give(match: re.Match[str]) -> str:
        name = match[1] or match[2] or match[3]
        if name in MACROS:
            return MACROS[name]
        # A regex matches everything in the place of a label's value, but is no duration.
        if name in values:
            return values[name] if values[name] != ".*" or not _RANGE.search(text[: match.start()]) else "1m"
        return match[0]

    return _VARIABLE.sub(give, text)


def read_values(variables: list[Mapping[str, Any]]) -> dict[str, str]:
    """Give what each of a dashboard's variables stands for: what shows everything, else what was chosen last.

    Args:
        variables: `templating.list` of the dashboard.
    """
    return {str(item["name"]): _read_value(item) for item in variables if item.get("name")}


def find_unknown(expr: str) -> str | None:
    """Give the first variable that nothing was put in for, as it is written; None where there is none."""
    found = _VARIABLE.search(re.sub(r'"(?:[^"\\]|\\.)*"', '""', expr))
    return found[0] if found else None


def _read_value(variable: Mapping[str, Any]) -> str:
    if variable.get("type") == "datasource":
        return "prometheus"
    if variable.get("includeAll") or variable.get("multi"):
        return str(variable.get("allValue") or ".*")
    value = (variable.get("current") or {}).get("value")
    if isinstance(value, list):
        value = "|".join(map(str, value))
    if value in ("$__all", "$__auto_interval", None, ""):
        value = _first_option(variable)
    return str(value)


def _first_option(variable: Mapping[str, Any]) -> str:
    """Give what an interval or custom variable offers first; any value of one that is asked of Prometheus."""
    query = variable.get("query")
    if variable.get("type") in ("interval", "custom", "constant", "textbox") and isinstance(query, str) and query:
        return query.split(",")[0].split(" : ")[-1].strip()
    return ".*"
