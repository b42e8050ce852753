"""Hold the labels in a query against those that the engine gives its series."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator

import promql_parser as promql

from stack.telemetry.contract.inventory import SCRAPE_LABELS, Inventory
from stack.telemetry.contract.names import Names
from stack.telemetry.contract.query import Fault, Query, find_spot
from stack.telemetry.contract.syntax import Around, Node, called, is_equal, matchers_of

# These make labels, so that above them anything may be grouped by.
_MAKERS = ("label_replace", "label_join", "count_values", "info")
_CLOSE = 0.85


def check_labels(
    query: Query, selector: Node, around: Around, name: str, inventory: Inventory, names: Names
) -> Iterator[Fault]:
    """Give what is wrong with the labels that are asked of one series: in matchers, in groups, in a variable."""
    facts = inventory.series[name]
    if facts.type == "unknown":
        return
    for matcher in matchers_of(selector):
        label = str(matcher.name)
        if label in facts.labels | SCRAPE_LABELS:
            yield from _check_value(query, matcher, name, inventory, names)
        else:
            yield from _explain_label(query, name, label, inventory)
    wanted = [query.label] if query.label else []
    for label in (*wanted, *_grouped(around)):
        if label not in facts.labels | SCRAPE_LABELS | {"le"}:
            yield from _explain_label(query, name, label, inventory)


def _grouped(around: Around) -> list[str]:
    """Give the labels that the innermost aggregation groups by, while nothing in between makes labels."""
    for node in reversed(around):
        if called(node) in _MAKERS or (isinstance(node, promql.BinaryExpr) and _joins(node)):
            return []
        if isinstance(node, promql.AggregateExpr):
            modifier = node.modifier
            is_by = modifier is not None and modifier.type == promql.AggModifierType.By
            return [str(label) for label in modifier.labels] if is_by else []
    return []


def _joins(node: Node) -> bool:
    """Tell whether one side of an operation stands for the other one, or gives its labels to it."""
    card = node.modifier.card if node.modifier is not None else None
    lends = (promql.VectorMatchCardinality.ManyToOne, promql.VectorMatchCardinality.OneToMany)
    return str(node.op) == "or" or card in lends


def _explain_label(query: Query, name: str, label: str, inventory: Inventory) -> Iterator[Fault]:
    facts = inventory.series[name]
    line, column = find_spot(query.text, label)
    known = ", ".join(sorted(facts.labels)) or "none"
    near = difflib.get_close_matches(label, facts.labels, n=1, cutoff=_CLOSE)
    if near or label in inventory.own_labels:
        message = f"`{name}` has no label `{label}`"
        yield Fault("dead-label", query.place, message, f"its labels: {known}", line, column)
    elif alike := next((own for own in sorted(facts.labels) if label in own.split("_")), None):
        message = f"the engine gives `{name}` no label `{label}`: only the scrape could"
        yield Fault("foreign-label", query.place, message, f"`{alike}` is the engine's own", line, column)
    else:
        message = f"`{label}` is no label of the engine's: the scrape has to add it, as Kubernetes does"
        # A Prometheus that runs the query tells by itself whether the label is there.
        hint = None if inventory.is_prometheus else "give --prometheus URL"
        yield Fault("not-checked", query.place, message, hint, line, column)


def _check_value(query: Query, matcher: Node, name: str, inventory: Inventory, names: Names) -> Iterator[Fault]:
    label, value = str(matcher.name), str(matcher.value)
    bounds = inventory.series[name].bounds
    line, column = find_spot(query.text, label)
    values = names.values.get((name, label))
    if values is not None and not _selects(matcher, values):
        sign = "=" if is_equal(matcher) else "=~"
        message = f'`{name}` never has {label}{sign}"{value}"'
        hint = f"its values: {', '.join(sorted(values))}"
        yield Fault("dead-value", query.place, message, hint, line, column)
    if label == "le" and is_equal(matcher) and bounds and not _is_bound(value, bounds):
        message = f'`{name}` has no bucket with le="{value}": the selector matches nothing'
        told = ", ".join(f"{bound:g}" for bound in bounds)
        yield Fault("dead-value", query.place, message, f"its bounds: {told}", line, column)


def _selects(matcher: Node, values: Collection[str]) -> bool:
    """Tell whether a matcher can match one of the values; one that leaves something out can."""
    if is_equal(matcher):
        return str(matcher.value) in values
    return not is_regex(matcher) or matches_any(str(matcher.value), values)


def is_regex(matcher: Node) -> bool:
    """Tell whether a matcher asks for what fits a regex."""
    return bool(matcher.op == promql.MatchOp.Re)


def matches_any(pattern: str, values: Collection[str]) -> bool:
    """Tell whether one of the values fits a regex as a whole; a regex that is Go's alone fits all."""
    try:
        compiled = re.compile(pattern)
    except re.error:
        return True
    return any(compiled.fullmatch(value) for value in values)


def _is_bound(value: str, bounds: tuple[float, ...]) -> bool:
    try:
        return value == "+Inf" or float(value) in bounds
    except ValueError:
        return False
