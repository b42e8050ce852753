"""Hold every name in a query against what the engine exports."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator

import promql_parser as promql

from stack.telemetry.contract.inventory import Inventory
from stack.telemetry.contract.labels import check_labels, is_regex, matches_any
from stack.telemetry.contract.names import Names
from stack.telemetry.contract.query import Fault, Query, find_spot
from stack.telemetry.contract.syntax import Around, Node, called, matchers_of, name_of, selectors_in

_ABSENCE = ("absent", "absent_over_time", "present_over_time")
_ENGINE = "vllm:"
# How others spell the engine's names: an OpenTelemetry collector knows no colon.
_RESPELLED = "vllm_"


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
        if name is None:
            yield from _check_pattern(query, selector, inventory, names, records)
        elif name not in records and name in inventory.series:
            yield from check_labels(query, selector, around, name, inventory, names)
        elif name not in records and name not in told:
            told.add(name)
            known = {*inventory.series, *records}
            if _has_substitute(selector, around, known):
                message = f"`{name}` does not exist, and the other side of `or` does"
                yield Fault("conditional", query.place, message, None, *find_spot(query.text, name))
                continue
            is_absence = any(called(node) in _ABSENCE for node in around)
            yield from _explain_missing(query, name, inventory, names, is_absence=is_absence)


def _has_substitute(selector: Node, around: Around, known: Collection[str]) -> bool:
    """Tell whether `or` gives something else where a selector gives nothing: for engines of two versions."""
    inner = selector
    for node in reversed(around):
        if isinstance(node, promql.BinaryExpr) and str(node.op) == "or":
            other = node.rhs if _holds(node.lhs, inner) else node.lhs
            found = [name_of(one) for one, _ in selectors_in(other)]
            if found and all(name in known for name in found):
                return True
        inner = node
    return False


def _holds(side: Node, inner: Node) -> bool:
    return side is inner or str(side) == str(inner)


def _check_pattern(
    query: Query, selector: Node, inventory: Inventory, names: Names, records: Collection[str]
) -> Iterator[Fault]:
    """Find a regex over names of the engine that none of its names fits."""
    for matcher in matchers_of(selector):
        pattern = str(matcher.value)
        if matcher.name != "__name__" or not is_regex(matcher) or not pattern.lstrip("^(").startswith(_ENGINE):
            continue
        known = {*inventory.series, *inventory.later, *records}
        if not matches_any(pattern, known) and names.find_condition(pattern) is None:
            message = f"no name of {inventory.source} fits `{pattern}`"
            yield Fault("dead-metric", query.place, message, None, *find_spot(query.text, pattern))


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
    elif not inventory.covers(name) and (own := _respell(name, inventory, names)) is not None:
        message = f"the engine calls it `{own}`: only an OpenTelemetry collector makes `{name}` of that"
        yield Fault("other-spelling", query.place, message, f"ask for `{own}`, or give --prometheus URL", line, column)
    elif not inventory.covers(name):
        message = f"`{name}` is no name of {inventory.source}: whether somebody else exports it was not asked"
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


def _respell(name: str, inventory: Inventory, names: Names) -> str | None:
    """Give the engine's own spelling of a name, where it has or had one: `vllm_x` for `vllm:x`."""
    own = name.replace(_RESPELLED, _ENGINE, 1)
    is_respelled = name.startswith(_RESPELLED) and (own in inventory.series or own in names.gone)
    return own if is_respelled else None
