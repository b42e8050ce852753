"""What a panel shows a query as: its unit, its thresholds, and how short a step it may ask with."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

Panel = Mapping[str, Any]

_STEP = re.compile(r"^[>\s]*(\d+(?:\.\d+)?)(ms|s|m|h|d)?$")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, None: 1.0}


def read_unit(panel: Panel, ref: str) -> str:
    """Give the unit of a query's values in a panel (Grafana's id); "" where more than the query decides it."""
    defaults = _read_defaults(panel)
    unit = str(defaults.get("unit") or _read_old_unit(panel))
    for override in (panel.get("fieldConfig") or {}).get("overrides") or ():
        matcher = override.get("matcher") or {}
        units = [one.get("value") for one in override.get("properties") or () if one.get("id") == "unit"]
        if not units:
            continue
        if matcher.get("id") != "byFrameRefID":
            # Which series a name, a regex or a type means is told by what comes back.
            return ""
        if matcher.get("options") == ref:
            unit = str(units[0] or "")
    return unit


def read_thresholds(panel: Panel) -> tuple[float, ...]:
    """Give the thresholds of a panel, in its unit; shares of its scale are none, nor are those that nobody sees."""
    defaults = _read_defaults(panel)
    thresholds = defaults.get("thresholds") or {}
    style = ((defaults.get("custom") or {}).get("thresholdsStyle") or {}).get("mode") or "off"
    # Every new panel has one at 80, which a line shows neither as a line nor as a colour.
    is_unseen = panel.get("type") == "timeseries" and style == "off"
    if thresholds.get("mode") == "percentage" or (is_unseen and _colour(defaults) != "thresholds"):
        return ()
    steps: Sequence[Any] = thresholds.get("steps") or ()
    return tuple(float(step["value"]) for step in steps if isinstance(step.get("value"), int | float))


def read_no_value(panel: Panel) -> str:
    """Give what a panel says while it has no data."""
    return str(_read_defaults(panel).get("noValue") or "")


def read_step_seconds(panel: Panel, target: Mapping[str, Any]) -> float | None:
    """Give how short `$__interval` may become, or None where nothing but the data source says so."""
    for written in (target.get("interval"), panel.get("interval")):
        found = _STEP.match(str(written or ""))
        if found:
            return float(found[1]) * _SECONDS[found[2]]
    return None


def _colour(defaults: Mapping[str, Any]) -> str:
    return str((defaults.get("color") or {}).get("mode") or "")


def _read_defaults(panel: Panel) -> Mapping[str, Any]:
    return (panel.get("fieldConfig") or {}).get("defaults") or {}


def _read_old_unit(panel: Panel) -> str:
    """Give the unit of a panel of before Grafana 7: `graph` has it on its axis, `singlestat` as its format."""
    if any(one.get("yaxis") == 2 for one in panel.get("seriesOverrides") or ()):
        return ""
    axes = panel.get("yaxes") or [{}]
    return str(axes[0].get("format") or panel.get("format") or "")
