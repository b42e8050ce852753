"""What is wrong with quantiles: what they are taken of, what is made of them, and what they are compared with."""

from __future__ import annotations

import re
from collections.abc import Iterator

import promql_parser as promql

from stack.telemetry.contract.linted import Linted
from stack.telemetry.contract.query import Fault
from stack.telemetry.contract.syntax import Around, Node, called, keeps_label, name_of, selectors_in, strip, walk
from stack.telemetry.contract.units import measure

_AVERAGES = ("avg", "sum", "avg_over_time", "sum_over_time")
_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
_QUANTILE_NAME = re.compile(r"(?:^|[_:])(?:p(?:50|75|9\d+)|quantile)(?:$|[_:])")


def lint_quantiles(linted: Linted) -> Iterator[Fault]:
    """Give everything that is wrong with a query's quantiles."""
    yield from _lint_buckets(linted)
    yield from _lint_averages(linted)
    yield from _lint_thresholds(linted)


def _lint_buckets(linted: Linted) -> Iterator[Fault]:
    for node, _ in walk(linted.tree):
        # Without `_bucket` it is a native histogram, which has no `le`, or a recorded name, which tells nothing.
        if called(node) != "histogram_quantile" or not _has_buckets(node.args[1]):
            continue
        sums = [one for one in _find_sums(node.args[1]) if _has_buckets(one)]
        lost = next((one for one in sums if not keeps_label(one, "le")), None)
        if lost is not None:
            message = "the buckets are summed without `le`: the quantile of one number is no quantile"
            yield linted.fault("quantile-without-le", called(lost), message, "sum by (le, …)")
        # An alert about each engine by itself is meant so.
        elif not sums and linted.query.place.kind != "alert":
            message = "the quantile of every series by itself: one line for each engine and each label's value"
            hint = "`sum by (le) (rate(…))` inside of it, and what else shall have its own line beside `le`"
            yield linted.fault("quantile-per-series", "histogram_quantile", message, hint)


def _find_sums(node: Node) -> Iterator[Node]:
    return (one for one, _ in walk(node) if isinstance(one, promql.AggregateExpr))


def _has_buckets(node: Node) -> bool:
    return any((name_of(selector) or "").endswith("_bucket") for selector, _ in selectors_in(node))


def _lint_averages(linted: Linted) -> Iterator[Fault]:
    for node, around in walk(linted.tree):
        is_recorded = isinstance(node, promql.VectorSelector) and _QUANTILE_NAME.search(name_of(node) or "")
        if called(node) != "histogram_quantile" and not is_recorded:
            continue
        if not is_recorded and _gives_one_series(node):
            around = tuple(one for one in around if not isinstance(one, promql.AggregateExpr))
        over = _find_average(around)
        if over is not None:
            made = "average" if over.startswith("avg") else "sum"
            message = f"`{over}` of quantiles: the {made} of quantiles is no quantile of anything"
            hint = "sum the buckets first, then take the quantile; or take the `max` for the worst one"
            yield linted.fault("average-of-quantiles", over, message, hint)


def _gives_one_series(quantile: Node) -> bool:
    """Tell whether the buckets are summed to one histogram: then an average over what comes out changes nothing."""
    argument = strip(quantile.args[1])
    modifier = argument.modifier if isinstance(argument, promql.AggregateExpr) else None
    is_by = modifier is not None and modifier.type == promql.AggModifierType.By
    return is_by and set(modifier.labels) <= {"le"}


def _find_average(around: Around) -> str | None:
    """Give the innermost average or sum; one that counts what a comparison says is none."""
    for one in reversed(around):
        if isinstance(one, promql.BinaryExpr) and str(one.op) in _COMPARISONS:
            return None
        if called(one) in _AVERAGES:
            return called(one)
    return None


def _lint_thresholds(linted: Linted) -> Iterator[Fault]:
    for node, around in walk(linted.tree):
        if called(node) != "histogram_quantile":
            continue
        bounds = next((facts.bounds for one, _ in selectors_in(node) if (facts := linted.facts(one))), ())
        scale = _scale_of(linted.tree)
        for value in (*_compared(around), *(value / scale for value in linted.query.thresholds)):
            if bounds and value and not bounds[0] <= value <= bounds[-1]:
                message = f"the threshold {value:g} lies outside the buckets ({bounds[0]:g} to {bounds[-1]:g})"
                hint = "no quantile of this histogram can tell the two sides of it apart"
                yield linted.fault("threshold-off-buckets", "histogram_quantile", message, hint)


def _compared(around: Around) -> Iterator[float]:
    for node in around:
        if isinstance(node, promql.BinaryExpr) and str(node.op) in (">", "<", ">=", "<="):
            for side, other in ((node.lhs, node.rhs), (node.rhs, node.lhs)):
                number = strip(side)
                if isinstance(number, promql.NumberLiteral):
                    yield float(number.val) / _scale_of(other)


def _scale_of(node: Node) -> float:
    found = measure(node)
    return found.scale if found is not None else 1.0
