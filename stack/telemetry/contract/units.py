"""What a PromQL expression measures, as far as names and functions tell it, against the unit that a panel shows."""

from __future__ import annotations

import re
from dataclasses import dataclass

import promql_parser as promql

from stack.telemetry.contract.syntax import Node, called, name_of, selectors_in, strip, walk

# The measure of a name by its ending. Source: https://prometheus.io/docs/practices/naming/#base-units;
# `_perc` is vLLM's own and goes from 0 to 1.
_ENDINGS = (
    ("_created", "timestamp"),
    ("_timestamp_seconds", "timestamp"),
    ("_start_time_seconds", "timestamp"),
    ("node_time_seconds", "timestamp"),
    ("_seconds", "seconds"),
    ("_bytes", "bytes"),
    ("_perc", "ratio"),
    ("_ratio", "ratio"),
    ("_celsius", "celsius"),
    ("_watts", "watts"),
)
_PARTS = ("_bucket", "_sum", "_total")
# A name that says it is a speed is one, whatever it ends with: `download_speed_bytes`.
_SPEED = re.compile(r"_(?:per|speed|rate|throughput|bandwidth)_")
_RATES = ("rate", "irate", "deriv")
# These give what they are given.
_SAME = (
    "sum", "avg", "min", "max", "topk", "bottomk", "quantile", "increase", "delta", "idelta", "avg_over_time",
    "min_over_time", "max_over_time", "sum_over_time", "last_over_time", "quantile_over_time", "abs", "clamp",
    "clamp_min", "clamp_max", "sort", "sort_desc", "label_replace", "label_join", "round", "ceil", "floor",
)  # fmt: skip

# Grafana's unit ids by what they show. Source: https://github.com/grafana/grafana, packages/grafana-data/src/
# valueFormats/categories.ts
_UNITS = {
    "seconds": {"s", "dtdurations", "clocks", "dthms"},
    "bytes": {"bytes", "decbytes"},
    "ratio": {"percentunit"},
    "bytes per second": {"Bps", "binBps"},
    "celsius": {"celsius"},
    "watts": {"watt"},
}
_SCALED = {
    ("seconds", 1000.0): {"ms", "dtdurationms", "clockms"},
    ("seconds", 1e6): {"µs"},
    ("ratio", 100.0): {"percent"},
    ("bytes", 8.0): {"bits", "decbits"},
    ("bytes per second", 8.0): {"bps", "binbps"},
}
_TOLD = {unit for units in (*_UNITS.values(), *_SCALED.values()) for unit in units}


@dataclass(frozen=True)
class Measure:
    """What a value is.

    Attributes:
        of: `seconds`, `bytes`, `ratio`, …
        scale: By which number the base unit was multiplied.
    """

    of: str
    scale: float = 1.0


def measure(node: Node) -> Measure | None:
    """Give what an expression measures, or None where that cannot be told."""
    node = strip(node)
    if isinstance(node, promql.VectorSelector):
        return _measure_name(name_of(node) or "")
    if isinstance(node, promql.MatrixSelector):
        return measure(node.vector_selector)
    if isinstance(node, promql.UnaryExpr | promql.SubqueryExpr):
        return measure(node.expr)
    if isinstance(node, promql.BinaryExpr):
        return _measure_binary(node)
    name = called(node)
    if name == "histogram_quantile":
        return _of_bounds(measure(node.args[1]))
    if name in _RATES:
        return _per_second(measure(node.args[0]))
    if name in ("quantile_over_time", "quantile") and isinstance(node, promql.Call):
        return measure(node.args[1])
    if name in _SAME:
        return measure(node.expr if isinstance(node, promql.AggregateExpr) else node.args[0])
    return None


def contradicts(found: Measure | None, unit: str) -> str | None:
    """Give what is wrong with a panel's unit, or None."""
    if found is None or unit not in _TOLD or found.of == "timestamp":
        return None
    fitting = _UNITS.get(found.of, set()) if found.scale == 1.0 else _SCALED.get((found.of, found.scale), set())
    if not fitting or unit in fitting:
        return None
    times = f" times {found.scale:g}" if found.scale != 1.0 else ""
    return f"the query gives {found.of}{times}, and the panel's unit is `{unit}`"


def _measure_name(name: str) -> Measure | None:
    part = next((part for part in _PARTS if name.endswith(part)), "")
    if name.endswith("_count") or _SPEED.search(name):
        return None
    base = name.removesuffix(part)
    counted = "count below " if part == "_bucket" else ""
    return next((Measure(counted + of) for ending, of in _ENDINGS if base.endswith(ending)), None)


def _of_bounds(found: Measure | None) -> Measure | None:
    """Give the unit of a histogram's bounds, whatever was counted under them."""
    if found is None:
        return None
    return Measure(found.of.removeprefix("rate of ").removeprefix("count below "), found.scale)


def _per_second(found: Measure | None) -> Measure | None:
    if found is None:
        return None
    if found.of == "bytes":
        return Measure("bytes per second", found.scale)
    # Seconds per second, or how often a bucket was hit: what it shows depends on what it is divided by.
    return Measure(f"rate of {found.of}", found.scale)


def _measure_binary(node: Node) -> Measure | None:
    operator = str(node.op)
    left, right = strip(node.lhs), strip(node.rhs)
    if operator in ("*", "/"):
        if operator == "*" and isinstance(left, promql.NumberLiteral):
            left, right = right, left
        return _scale(measure(left), right, operator) or _divide(left, right, operator)
    if operator in ("+", "-", "or", "unless", "and", "<", ">", "<=", ">=", "==", "!="):
        return measure(left) or (measure(right) if operator == "or" else None)
    return None


def _scale(found: Measure | None, right: Node, operator: str) -> Measure | None:
    if found is None or not isinstance(right, promql.NumberLiteral) or right.val == 0:
        return None
    return Measure(found.of, found.scale * (right.val if operator == "*" else 1 / right.val))


def _divide(left: Node, right: Node, operator: str) -> Measure | None:
    if operator != "/":
        return None
    above, below = measure(left), measure(right)
    if above is None:
        return None
    if below is not None and above.of == below.of:
        return Measure("ratio", above.scale / below.scale)
    # rate(x_seconds_sum) / rate(x_seconds_count) is seconds; what other names count or measure is not known.
    if below is not None or not _counts(right):
        return None
    if above.of == "rate of seconds":
        return Measure("seconds", above.scale)
    if above.of == "bytes per second":
        return Measure("bytes", above.scale)
    return Measure(above.of, above.scale) if above.of in ("seconds", "bytes") else None


def _counts(node: Node) -> bool:
    """Tell whether all names in an expression count something."""
    names = [name_of(selector) or "" for selector, _ in selectors_in(node)]
    # `count(x)` is how many series there are; a `_total` may count seconds.
    is_series = any(called(one) in ("count", "group") for one, _ in walk(node))
    return bool(names) and not is_series and all(name.endswith("_count") for name in names)
