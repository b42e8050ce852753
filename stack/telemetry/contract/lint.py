"""What is wrong with a query though it parses and every name in it exists."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import promql_parser as promql

from stack.telemetry.contract.inventory import Inventory, SeriesFacts
from stack.telemetry.contract.query import Fault, Query, find_spot
from stack.telemetry.contract.syntax import (
    Around,
    Node,
    called,
    keeps_label,
    name_of,
    seconds_of,
    selectors_in,
    strip,
    walk,
)
from stack.telemetry.contract.units import contradicts, measure

_RISE = ("rate", "irate", "increase")
# These look at a counter without taking its value for something.
_LOOKS = ("resets", "changes", "absent", "absent_over_time", "present_over_time", "timestamp", "count", "group")
_AVERAGES = ("avg", "sum", "avg_over_time", "sum_over_time")
_GUARDS = (">", ">=", "!=")
_INTERVAL_IN_RANGE = re.compile(r"\[\s*\$(?:__interval\b|\{__interval[}:])")
_VARIABLE_RANGE = re.compile(r"\[\s*(?:\$|\[\[)")
_QUANTILE_NAME = re.compile(r"(?:^|[_:])(?:p(?:50|75|9\d+)|quantile)(?:$|[_:])")
_TIMED = re.compile(r"\b(latency|duration|time)\b", re.IGNORECASE)
_TIME_UNITS = ("s", "ms", "dtdurations", "clocks")


@dataclass(frozen=True)
class Linted:
    """A query as the rules see it.

    Attributes:
        query: The query.
        tree: Its tree.
        inventory: What is known of the series.
        scrape_interval_seconds: How often they are scraped.
    """

    query: Query
    tree: Node
    inventory: Inventory
    scrape_interval_seconds: float

    def facts(self, selector: Node) -> SeriesFacts | None:
        """Give what is known of a selector's series."""
        return self.inventory.series.get(name_of(selector) or "")

    def fault(self, rule: str, part: str, message: str, hint: str) -> Fault:
        """Give a fault at the first place where a part stands."""
        return Fault(rule, self.query.place, message, hint, *find_spot(self.query.text, part))


def lint(linted: Linted) -> Iterator[Fault]:
    """Give everything that is wrong with a query, rule by rule."""
    for rule in _LINTS:
        yield from rule(linted)


def _lint_gauge_rates(linted: Linted) -> Iterator[Fault]:
    for node, _ in walk(linted.tree):
        if called(node) not in (*_RISE, "resets") or not isinstance(node, promql.Call):
            continue
        for selector, _ in selectors_in(node):
            facts = linted.facts(selector)
            if facts is not None and facts.type == "gauge":
                message = f"`{called(node)}` over the gauge `{name_of(selector)}`: every fall counts as a reset"
                hint = "use the value itself, or `delta` and `deriv` for how it moves"
                yield linted.fault("rate-over-gauge", called(node), message, hint)


def _lint_bare_counters(linted: Linted) -> Iterator[Fault]:
    for selector, around in selectors_in(linted.tree):
        facts, name = linted.facts(selector), name_of(selector)
        if facts is None or facts.type not in ("counter", "histogram", "summary"):
            continue
        names = {called(node) for node in around}
        if facts.type == "summary" and not str(name).endswith(("_sum", "_count")):
            continue
        if names & {*_RISE, *_LOOKS, "delta", "idelta"} or _is_difference(around):
            continue
        message = f"`{name}` counts since the engine started: its value says nothing of now"
        yield linted.fault("counter-without-rate", str(name), message, "put it into `rate(…[5m])` or `increase(…)`")


def _is_difference(around: Around) -> bool:
    """Tell whether a counter stands in `x - x offset 1h`."""
    minus = [node for node in around if isinstance(node, promql.BinaryExpr) and str(node.op) == "-"]
    return any(selector.offset for node in minus for selector, _ in selectors_in(node))


def _lint_quantiles(linted: Linted) -> Iterator[Fault]:
    for node, _ in walk(linted.tree):
        if called(node) != "histogram_quantile":
            continue
        argument = strip(node.args[1])
        if isinstance(argument, promql.AggregateExpr):
            if not keeps_label(argument, "le"):
                message = "the buckets are summed without `le`: the quantile of one number is no quantile"
                yield linted.fault("quantile-without-le", called(argument), message, "sum by (le, …)")
        elif _selects_many(argument):
            message = "the quantile of each series by itself: one line an engine, label set and restart"
            yield linted.fault("quantile-per-series", "histogram_quantile", message, "sum by (le) inside of it")


def _selects_many(node: Node) -> bool:
    names = [name_of(selector) or "" for selector, _ in selectors_in(node)]
    return any(name.endswith("_bucket") for name in names)


def _lint_averages(linted: Linted) -> Iterator[Fault]:
    for node, around in walk(linted.tree):
        is_recorded = isinstance(node, promql.VectorSelector) and _QUANTILE_NAME.search(name_of(node) or "")
        if called(node) != "histogram_quantile" and not is_recorded:
            continue
        over = next((called(one) for one in around if called(one) in _AVERAGES), None)
        if over is not None:
            message = f"`{over}` of quantiles: the average of quantiles is no quantile of anything"
            hint = "sum the buckets first, then take the quantile"
            yield linted.fault("average-of-quantiles", over, message, hint)


def _lint_sums(linted: Linted) -> Iterator[Fault]:
    query = linted.query
    if query.unit not in _TIME_UNITS and not _TIMED.search(query.place.name):
        return
    for node, around in walk(linted.tree):
        if called(node) not in ("rate", "irate"):
            continue
        names = [name_of(selector) or "" for selector, _ in selectors_in(node)]
        divides = any(isinstance(one, promql.BinaryExpr) and str(one.op) == "/" for one in around)
        if not divides and any(name.endswith("_seconds_sum") for name in names):
            message = f"`{called(node)}({names[0]})` is seconds spent per second: how many at once, not how long"
            count = names[0].removesuffix("_sum")
            hint = f"divide by rate({count}_count), or take a quantile of {count}_bucket"
            yield linted.fault("sum-as-latency", names[0], message, hint)


def _lint_interval(linted: Linted) -> Iterator[Fault]:
    found = _INTERVAL_IN_RANGE.search(linted.query.text)
    if found:
        message = "`$__interval` may be shorter than two scrapes when somebody zooms in: the line has gaps"
        yield linted.fault("interval-in-rate", found[0], message, "use `$__rate_interval`")


def _lint_ratios(linted: Linted) -> Iterator[Fault]:
    for node, around in walk(linted.tree):
        if not isinstance(node, promql.BinaryExpr) or str(node.op) != "/":
            continue
        if not _can_be_zero(node.rhs) or _is_guarded(node.rhs):
            continue
        if any(isinstance(one, promql.BinaryExpr) and str(one.op) in ("and", "unless") for one in around):
            continue
        message = "the ratio has no guard: without traffic it is NaN, and no comparison holds"
        yield linted.fault("unguarded-ratio", "/", message, "let the denominator be `(… > 0)`")


def _can_be_zero(node: Node) -> bool:
    return any(called(one) in _RISE for one, _ in walk(node))


def _is_guarded(node: Node) -> bool:
    return any(
        (isinstance(one, promql.BinaryExpr) and str(one.op) in _GUARDS) or called(one) == "clamp_min"
        for one, _ in walk(node)
    )


def _lint_ranges(linted: Linted) -> Iterator[Fault]:
    shortest = 2 * linted.scrape_interval_seconds
    if _VARIABLE_RANGE.search(linted.query.text):
        return
    for node, around in walk(linted.tree):
        if not isinstance(node, promql.MatrixSelector) or not around:
            continue
        seconds = seconds_of(node)
        if called(around[-1]) in (*_RISE, "delta", "deriv") and seconds < shortest:
            message = (
                f"{seconds:g} s hold fewer than two scrapes of {linted.scrape_interval_seconds:g} s: it gives nothing"
            )
            hint = f"take at least {4 * linted.scrape_interval_seconds:g} s, or `$__rate_interval` in a dashboard"
            yield linted.fault("range-too-short", "[", message, hint)


def _lint_unit(linted: Linted) -> Iterator[Fault]:
    wrong = contradicts(measure(linted.tree), linted.query.unit) if linted.query.unit else None
    if wrong is not None:
        yield Fault("wrong-unit", linted.query.place, wrong, "change the unit, or scale the query")


def _lint_thresholds(linted: Linted) -> Iterator[Fault]:
    for node, around in walk(linted.tree):
        if called(node) != "histogram_quantile":
            continue
        bounds = next((facts.bounds for one, _ in selectors_in(node) if (facts := linted.facts(one))), ())
        scale = _scale_of(linted)
        values = [*_compared(around), *(value / scale for value in linted.query.thresholds)]
        for value in values:
            if bounds and value and not bounds[0] <= value <= bounds[-1]:
                message = f"the threshold {value:g} lies outside the buckets ({bounds[0]:g} to {bounds[-1]:g})"
                hint = "no quantile of this histogram can tell the two sides of it apart"
                yield linted.fault("threshold-off-buckets", "histogram_quantile", message, hint)


def _compared(around: Around) -> Iterator[float]:
    for node in around:
        if isinstance(node, promql.BinaryExpr) and str(node.op) in (">", "<", ">=", "<="):
            for side in (strip(node.lhs), strip(node.rhs)):
                if isinstance(side, promql.NumberLiteral):
                    yield float(side.val)


def _scale_of(linted: Linted) -> float:
    found = measure(linted.tree)
    return found.scale if found is not None else 1.0


_LINTS: tuple[Callable[[Linted], Iterator[Fault]], ...] = (
    _lint_gauge_rates,
    _lint_bare_counters,
    _lint_quantiles,
    _lint_averages,
    _lint_sums,
    _lint_interval,
    _lint_ratios,
    _lint_ranges,
    _lint_unit,
    _lint_thresholds,
)
