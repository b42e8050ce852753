"""Why a query gives no number though its metrics exist: found by asking for its parts, the innermost first."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import promql_parser as promql

from stack.errors import ServiceApiError
from stack.telemetry.contract.inventory import SCRAPE_LABELS
from stack.telemetry.contract.names import Names
from stack.telemetry.contract.query import Query
from stack.telemetry.contract.syntax import (
    Node,
    called,
    children_of,
    is_equal,
    matchers_of,
    name_of,
    parse,
    selectors_in,
    strip,
)
from stack.telemetry.prometheus_api import Series

Ask = Callable[[str], Sequence[Series]]
_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
_LISTED = 5


@dataclass(frozen=True)
class Reason:
    """Why an expression gives no number.

    Attributes:
        text: The reason.
        kind: `quiet`: all its parts have numbers, and its condition is not met; `early`: what it tells of has not
            happened yet; `unknown`: neither, so that it is a fault.
    """

    text: str
    kind: Literal["quiet", "early", "unknown"]


class EmptyExplainer:
    """Explains queries of one Prometheus at one moment; what was asked once is not asked again.

    Args:
        ask: Gives an expression's value now.
        names: What is known of names.
        rules: The recording rules' queries, by the name that they record.
    """

    def __init__(self, ask: Ask, names: Names, rules: Mapping[str, Sequence[Query]]) -> None:
        self._ask, self._names, self._rules = ask, names, rules
        self._told: dict[str, Sequence[Series]] = {}

    def explain(self, expr: str, found: Sequence[Series]) -> Reason:
        """Give why an expression has no number now.

        Args:
            expr: The expression.
            found: What it was found to give: nothing, or what is no number.
        """
        tree = strip(parse(expr))
        self._told[_render(tree)] = found
        try:
            return self._explain(tree) or Reason("it is no expression that gives numbers", "unknown")
        except ServiceApiError as err:
            return Reason(err.message, "unknown")

    def _explain(self, node: Node) -> Reason | None:
        node = strip(node)
        if isinstance(node, promql.NumberLiteral | promql.StringLiteral):
            return None
        if isinstance(node, promql.MatrixSelector | promql.SubqueryExpr):
            return self._explain_range(node)
        if _has_number(self._give(node)):
            return None
        if isinstance(node, promql.VectorSelector):
            return self._explain_selector(node)
        return self._explain_parts(node) or self._explain_whole(node)

    def _explain_parts(self, node: Node) -> Reason | None:
        operator = _operator(node)
        parts = children_of(node)[:1] if operator == "unless" else children_of(node)
        if called(node).startswith("absent"):
            return None
        reasons = [reason for reason in map(self._explain, parts) if reason is not None]
        if operator == "or" and any(reason.kind != "unknown" for reason in reasons):
            reasons = [reason for reason in reasons if reason.kind != "unknown"]
        return reasons[0] if reasons else None

    def _explain_whole(self, node: Node) -> Reason:
        """Say why a node has no number though each of its parts has one."""
        operator = _operator(node)
        if self._give(node):
            return Reason("nothing happened in that time, so that there is nothing to divide by", "early")
        if operator in _COMPARISONS:
            return Reason(f"`{_shorten(node.lhs)}` is nowhere `{operator} {_shorten(node.rhs)}` now", "quiet")
        if operator in ("and", "unless"):
            return Reason(f"its condition `{operator} {_shorten(node.rhs)}` leaves nothing now", "quiet")
        if called(node).startswith("absent"):
            return Reason(f"`{_shorten(node.args[0])}` is there", "quiet")
        if operator:
            said = f"both sides of `{operator}` have numbers, and no labels of one are those of the other"
            return Reason(said, "unknown")
        return Reason(f"`{called(node) or type(node).__name__}` gives nothing for what it is given", "unknown")

    def _explain_range(self, node: Node) -> Reason | None:
        inner = node.vector_selector if isinstance(node, promql.MatrixSelector) else node.expr
        counted = [series.value for series in self._give_text(f"max(count_over_time({_render(node)}))")]
        if counted and counted[0] >= 2:
            return None
        return self._explain(inner) or Reason(f"`{_shorten(inner)}` was seen less than twice in that time", "early")

    def _explain_selector(self, selector: Node) -> Reason:
        name = name_of(selector)
        if name is None:
            return Reason(f"nothing matches `{_shorten(selector)}`", "unknown")
        found = self._give(promql.parse(name))
        if found and self._give(selector):
            return self._explain_record(name) or Reason(f"`{name}` is no number yet", "early")
        if found:
            return _explain_matchers(selector, name, found)
        condition = self._names.find_condition(name)
        if condition is not None:
            return Reason(f"`{name}` exists only with {condition}", "early")
        return self._explain_record(name) or Reason(f"`{name}` has not reached Prometheus", "unknown")

    def _explain_record(self, name: str) -> Reason | None:
        """Give why a recorded series is not there: for the reason why its rule gives nothing."""
        rules = self._rules.get(name, ())
        if not rules:
            return None
        reasons = [self._explain(parse(rule.expr)) for rule in rules]
        missing = [reason for reason in reasons if reason is not None]
        if len(missing) < len(reasons):
            return Reason(f"the rule of `{name}` has not been judged since it has something to say", "early")
        return next((reason for reason in missing if reason.kind != "unknown"), missing[0])

    def _give(self, node: Node) -> Sequence[Series]:
        return self._give_text(_render(node))

    def _give_text(self, text: str) -> Sequence[Series]:
        if text not in self._told:
            self._told[text] = self._ask(text)
        return self._told[text]


def find_rules(queries: Collection[Query]) -> dict[str, list[Query]]:
    """Give the queries of recording rules by the name that they record."""
    found: dict[str, list[Query]] = {}
    for query in queries:
        if query.place.kind == "record":
            found.setdefault(query.place.name, []).append(query)
    return found


def _has_number(found: Sequence[Series]) -> bool:
    return any(not math.isnan(series.value) for series in found)


def _operator(node: Node) -> str:
    return str(node.op).lower() if isinstance(node, promql.BinaryExpr) else ""


def _render(node: Node) -> str:
    """Give a node as PromQL; the parser's own text leaves quotes and backslashes in a matcher as they are."""
    text = str(node)
    for selector, _ in selectors_in(node):
        for matcher in matchers_of(selector):
            text = text.replace(f'"{matcher.value}"', json.dumps(matcher.value, ensure_ascii=False))
    return text


def _explain_matchers(selector: Node, name: str, found: Sequence[Series]) -> Reason:
    """Say which matcher leaves nothing of the series that there are."""
    if selector.offset is not None or selector.at is not None:
        return Reason(f"nothing of `{name}` was recorded at that time", "early")
    for matcher in matchers_of(selector):
        label = str(matcher.name)
        if label == "__name__" or not is_equal(matcher) or not matcher.value:
            continue
        values = sorted({series.labels[label] for series in found if label in series.labels})
        if matcher.value not in values:
            known = ", ".join(values[:_LISTED]) or "none"
            kind: Literal["early", "unknown"] = "unknown" if label in SCRAPE_LABELS or not values else "early"
            return Reason(f'no `{name}` has {label}="{matcher.value}" yet; there are: {known}', kind)
    return Reason(f"no `{name}` is as `{_shorten(selector)}` wants it yet", "early")


def _shorten(node: Node) -> str:
    text = " ".join(str(node).split())
    return text if len(text) <= 60 else f"{text[:57]}…"
