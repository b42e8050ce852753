"""Hold every name, label and label value in a query against what the engine exports."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator

from stack.telemetry.contract.inventory import SCRAPE_LABELS, Inventory
from stack.telemetry.contract.names import Names
from stack.telemetry.contract.query import Fault, Query, find_spot
from stack.telemetry.contract.syntax import Node, called, is_equal, matchers_of, name_of, selectors_in

_ABSENCE = ("absent", "absent_over_time", "present_over_time")


def resolve_names(
    query: Query, tree: Node, inventory: Inventory, names: Names, records: Collection[str]
) -> Iterator[Fault]:
    """Give what a query asks for that nobody exports.

    Args:
        query: The query.
        tree: Its tree.
        inventory: What is exported.
        names: What is known beyond that.
        records: What recording rules make.
    """
    told: set[str] = set()
    for selector, around in selectors_in(tree):
        name = name_of(selector)
        if name is None or name in records:
            continue
        facts = inventory.series.get(name)
        if facts is not None:
            yield from _check_matchers(query, selector, name, inventory, names)
        elif name not in told:
            is_absence = any(called(node) in _ABSENCE for node in around)
            yield from _explain_missing(query, name, inventory, names, is_absence=is_absence)
        told.add(name)


def _explain_missing(
    query: Query, name: str, inventory: Inventory, names: Names, *, is_absence: bool
) -> Iterator[Fault]:
    line, column = find_spot(query.text, name)
    gone = names.gone.get(name)
    condition = names.find_condition(name, inventory.series)
    if gone is not None:
        since = f" since vLLM {gone.since}" if gone.since else ""
        message = f"`{name}` does not exist{since}"
        yield Fault("dead-metric", query.place, message, f"instead: {gone.instead}", line, column)
    elif not inventory.covers(name):
        message = f"`{name}` is not of {inventory.source}: nobody was asked for it"
        yield Fault("not-checked", query.place, message, "give --prometheus URL", line, column)
    elif condition is not None:
        message = f"`{name}` exists only with {condition}"
        yield Fault("conditional", query.place, message, None, line, column)
    elif name in inventory.later:
        message = f"`{name}` exists since vLLM {inventory.later[name]}, and this engine is older"
        yield Fault("conditional", query.place, message, None, line, column)
    elif not is_absence:
        message = f"`{name}` does not exist in {inventory.source}"
        yield Fault("dead-metric", query.place, message, _suggest(name, inventory), line, column)


def _suggest(name: str, inventory: Inventory) -> str | None:
    if f"{name}_total" in inventory.series:
        return f"counters end in `_total`: `{name}_total`"
    if f"{name}_bucket" in inventory.series:
        return f"it is a histogram: `{name}_bucket`, `{name}_sum`, `{name}_count`"
    near = difflib.get_close_matches(name, inventory.series, n=1, cutoff=0.75)
    return f"the nearest name is `{near[0]}`" if near else None


def _check_matchers(query: Query, selector: Node, name: str, inventory: Inventory, names: Names) -> Iterator[Fault]:
    facts = inventory.series[name]
    if facts.type == "unknown":
        return
    for matcher in matchers_of(selector):
        label, value = str(matcher.name), str(matcher.value)
        line, column = find_spot(query.text, label)
        if label not in facts.labels | SCRAPE_LABELS:
            known = ", ".join(sorted(facts.labels)) or "none"
            message = f"`{name}` has no label `{label}`"
            yield Fault("dead-label", query.place, message, f"its labels: {known}", line, column)
            continue
        values = names.values.get((name, label))
        if values is not None and is_equal(matcher) and value not in values:
            message = f'`{name}` never has {label}="{value}"'
            hint = f"its values: {', '.join(sorted(values))}"
            yield Fault("dead-value", query.place, message, hint, line, column)
        if label == "le" and is_equal(matcher) and facts.bounds and not _is_bound(value, facts.bounds):
            message = f'`{name}` has no bucket with le="{value}": the selector matches nothing'
            bounds = ", ".join(f"{bound:g}" for bound in facts.bounds)
            yield Fault("dead-value", query.place, message, f"its bounds: {bounds}", line, column)


def _is_bound(value: str, bounds: tuple[float, ...]) -> bool:
    try:
        return value == "+Inf" or float(value) in bounds
    except ValueError:
        return False
