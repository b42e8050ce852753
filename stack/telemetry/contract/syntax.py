"""PromQL as a tree: parsed, and walked with what stands around each node."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import promql_parser as promql

Node = Any
Around = tuple[Node, ...]


def parse(expr: str) -> Node:
    """Give the tree of an expression.

    Raises:
        ValueError: It is no PromQL; the message says why.
    """
    try:
        return promql.parse(expr)
    except ValueError as err:
        raise ValueError(str(err).removeprefix("parse error: ").strip()) from err


def walk(node: Node, around: Around = ()) -> Iterator[tuple[Node, Around]]:
    """Give every node with the nodes around it, the outermost first."""
    yield node, around
    for child in children_of(node):
        yield from walk(child, (*around, node))


def children_of(node: Node) -> Sequence[Node]:
    """Give the nodes directly below one."""
    if isinstance(node, promql.BinaryExpr):
        return (node.lhs, node.rhs)
    if isinstance(node, promql.Call):
        return tuple(node.args)
    if isinstance(node, promql.AggregateExpr):
        return (node.expr,) if node.param is None else (node.param, node.expr)
    if isinstance(node, promql.ParenExpr | promql.UnaryExpr | promql.SubqueryExpr):
        return (node.expr,)
    if isinstance(node, promql.MatrixSelector):
        return (node.vector_selector,)
    return ()


def strip(node: Node) -> Node:
    """Give what is inside parentheses."""
    while isinstance(node, promql.ParenExpr):
        node = node.expr
    return node


def selectors_in(node: Node) -> Iterator[tuple[Node, Around]]:
    """Give every vector selector with the nodes around it."""
    return ((one, around) for one, around in walk(node) if isinstance(one, promql.VectorSelector))


def ranges_in(node: Node, around: Around = ()) -> Iterator[tuple[Node, Around]]:
    """Give everything that has a range, with the nodes around it, in the order in which the ranges are written."""
    for child in children_of(node):
        yield from ranges_in(child, (*around, node))
    if isinstance(node, promql.MatrixSelector | promql.SubqueryExpr):
        yield node, around


def called(node: Node) -> str:
    """Give the function's name of a call, the operator of an aggregation, else ""."""
    if isinstance(node, promql.Call):
        return str(node.func.name)
    return str(node.op).lower() if isinstance(node, promql.AggregateExpr) else ""


def name_of(selector: Node) -> str | None:
    """Give the metric's name in a selector, or None where only labels select."""
    if selector.name:
        return str(selector.name)
    exact = [matcher.value for matcher in matchers_of(selector) if matcher.name == "__name__" and is_equal(matcher)]
    return exact[0] if exact else None


def matchers_of(selector: Node) -> Sequence[Node]:
    """Give the label matchers of a selector."""
    return list(selector.matchers.matchers) if selector.matchers else []


def is_equal(matcher: Node) -> bool:
    """Tell whether a matcher asks for one exact value."""
    return bool(matcher.op == promql.MatchOp.Equal)


def keeps_label(aggregation: Node, label: str) -> bool:
    """Tell whether a label is left after an aggregation."""
    modifier = aggregation.modifier
    if modifier is None:
        return False
    labels = list(modifier.labels)
    return label in labels if modifier.type == promql.AggModifierType.By else label not in labels


def seconds_of(selector: Node) -> float:
    """Give the range of a matrix selector in seconds."""
    return float(selector.range.total_seconds())
