"""What is wrong with a query though it parses and every name in it exists."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import promql_parser as promql

from stack.telemetry.contract.lint_quantiles import lint_quantiles
from stack.telemetry.contract.linted import Linted
from stack.telemetry.contract.query import Fault
from stack.telemetry.contract.syntax import (
    Around,
    Node,
    called,
    name_of,
    ranges_in,
    seconds_of,
    selectors_in,
    strip,
    walk,
)
from stack.telemetry.contract.units import contradicts, measure
from stack.telemetry.contract.written import find_ranges

_RISE = ("rate", "irate", "increase")
# These look at a counter without taking its value for something.
_LOOKS = ("resets", "changes", "absent", "absent_over_time", "present_over_time", "timestamp", "count", "group")
# These look at two points at least.
_PAIRS = (*_RISE, "delta", "idelta", "deriv", "predict_linear")
_INTERVAL = re.compile(r"\$(?:__interval\b|\{__interval[}:])")
_IDLE = re.compile(r"^vllm:(?:num_requests_|kv_cache_usage_perc$)")
_TIMED = re.compile(r"\b(latency|duration|time)\b", re.IGNORECASE)
_TIME_UNITS = ("s", "ms", "dtdurations", "clocks")
_NO_UNITS = ("", "short", "none")


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
    # A variable takes the labels of a series, whatever its value is.
    if linted.query.place.kind == "variable":
        return
    for selector, around in selectors_in(linted.tree):
        facts, name = linted.facts(selector), name_of(selector)
        if facts is None or facts.type not in ("counter", "histogram", "summary"):
            continue
        names = {called(node) for node in around}
        if facts.type == "summary" and not str(name).endswith(("_sum", "_count")):
            continue
        if names & {*_RISE, *_LOOKS, "delta", "idelta"} or _is_difference(around):
            continue
        if linted.query.place.kind == "panel" and _shows_total(str(name), around):
            message = f"`{name}` counts since the engine started: after a restart the total begins at 0 again"
            hint = "`increase(…[$__range])` tells how many in the time that is shown"
            yield linted.fault("counter-as-total", str(name), message, hint)
            continue
        message = f"`{name}` counts since the engine started: its value says nothing of now"
        yield linted.fault("counter-without-rate", str(name), message, "put it into `rate(…[5m])` or `increase(…)`")


def _shows_total(name: str, around: Around) -> bool:
    """Tell whether a counter is shown as it is, or summed: a total, and no part of anything else."""
    summed = all(isinstance(node, promql.ParenExpr) or called(node) == "sum" for node in around)
    return summed and name.endswith(("_total", "_count"))


def _is_difference(around: Around) -> bool:
    """Tell whether a counter stands in `x - x offset 1h`."""
    minus = [node for node in around if isinstance(node, promql.BinaryExpr) and str(node.op) == "-"]
    return any(selector.offset for node in minus for selector, _ in selectors_in(node))


def _lint_sums(linted: Linted) -> Iterator[Fault]:
    unit, place = linted.query.unit, linted.query.place
    # Seconds spent per second are a share of the time, and are right where that is shown.
    if unit not in _TIME_UNITS and not (unit in _NO_UNITS and place.kind == "panel" and _TIMED.search(place.name)):
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
    least = linted.query.step_seconds
    if least is not None and least >= 2 * linted.scrape_interval_seconds:
        return
    for node, around, written in _read_ranges(linted):
        found = _INTERVAL.match(written)
        if found and _takes_pairs(node, around):
            message = f"`{found[0]}` may be shorter than two scrapes when somebody zooms in: the line has gaps"
            yield linted.fault("interval-in-rate", found[0], message, "use `$__rate_interval`")
            return


def _read_ranges(linted: Linted) -> Iterator[tuple[Node, Around, str]]:
    """Give every range with what stands around it, and as it is written: with its variable."""
    ranges, written = list(ranges_in(linted.tree)), find_ranges(linted.query.text)
    if len(ranges) == len(written):
        yield from ((node, around, text) for (node, around), text in zip(ranges, written, strict=True))


def _takes_pairs(node: Node, around: Around) -> bool:
    return isinstance(node, promql.MatrixSelector) and bool(around) and called(around[-1]) in _PAIRS


def _lint_ratios(linted: Linted) -> Iterator[Fault]:
    for node, around in walk(linted.tree):
        if not isinstance(node, promql.BinaryExpr) or str(node.op) != "/":
            continue
        if _is_guarded(node.rhs):
            continue
        if _is_idle_gauge(node.rhs):
            message = "the ratio has no guard: while nothing runs it is infinite, and every `>` holds"
        elif any(called(one) in _RISE for one, _ in walk(node.rhs)) and not _drops_nan(around):
            message = "the ratio has no guard: without traffic it is NaN, which spoils every sum and average over it"
        else:
            continue
        yield linted.fault("unguarded-ratio", "/", message, "let the denominator be `(… > 0)`")


def _is_idle_gauge(node: Node) -> bool:
    """Tell whether an expression is a gauge of the engine's that is 0 while nothing runs."""
    names = [name_of(selector) or "" for selector, _ in selectors_in(node)]
    # How many there are is not how much they do.
    is_counted = any(called(one) in ("count", "group") for one, _ in walk(node))
    return bool(names) and not is_counted and all(_IDLE.search(name) for name in names)


def _is_guarded(node: Node) -> bool:
    """Tell whether a denominator is nothing, or more than nothing, where there is no traffic."""
    return called(node) == "clamp_min" or any(
        (isinstance(one, promql.BinaryExpr) and (str(one.op) in (">", ">=", "!=") or _adds_number(one)))
        or called(one) == "clamp_min"
        for one, _ in walk(node)
    )


def _adds_number(node: Node) -> bool:
    """Tell whether a number above nothing is added, as in `rate(…) + 1e-9`."""
    sides = (strip(node.lhs), strip(node.rhs))
    return str(node.op) == "+" and any(isinstance(one, promql.NumberLiteral) and one.val > 0 for one in sides)


def _drops_nan(around: Around) -> bool:
    """Tell whether what is no number is left out again: no comparison but `!=` holds for it."""
    return any(
        isinstance(one, promql.BinaryExpr)
        and str(one.op) in (">", ">=", "<", "<=", "==", "and", "unless")
        and not (one.modifier and one.modifier.return_bool)
        for one in around
    )


def _lint_ranges(linted: Linted) -> Iterator[Fault]:
    interval = linted.scrape_interval_seconds
    for node, around, written in _read_ranges(linted):
        is_long = written.startswith(("$", "((")) or seconds_of(node) >= 2 * interval
        # How often another exporter is scraped is not known.
        if is_long or not _takes_pairs(node, around) or linted.facts(node.vector_selector) is None:
            continue
        message = f"{seconds_of(node):g} s hold fewer than two scrapes of {interval:g} s: it gives nothing"
        hint = f"take at least {4 * interval:g} s, or `$__rate_interval` in a dashboard"
        yield linted.fault("range-too-short", "[", message, hint)


def _lint_many(linted: Linted) -> Iterator[Fault]:
    found = linted.query.many_with_equal
    if found is not None:
        message = (
            f'`="{found}"` compares with one value, and the variable can have several or all: then nothing matches'
        )
        yield linted.fault("all-with-equal", found, message, f'write `=~"{found}"`')


def _lint_unit(linted: Linted) -> Iterator[Fault]:
    wrong = contradicts(measure(linted.tree), linted.query.unit) if linted.query.unit else None
    if wrong is not None:
        yield Fault("wrong-unit", linted.query.place, wrong, "change the unit, or scale the query")


_LINTS: tuple[Callable[[Linted], Iterator[Fault]], ...] = (
    _lint_gauge_rates,
    _lint_bare_counters,
    lint_quantiles,
    _lint_sums,
    _lint_interval,
    _lint_ratios,
    _lint_ranges,
    _lint_many,
    _lint_unit,
)
