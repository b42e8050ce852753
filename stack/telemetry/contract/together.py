"""Many queries asked in a few: each request costs more than what most queries take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice

from stack.errors import ServiceApiError
from stack.telemetry.contract.empty import Ask
from stack.telemetry.prometheus_api import Series

_LABEL = "stack_query"
_AT_ONCE = 25


def ask_together(ask: Ask, exprs: Iterable[str]) -> dict[str, Sequence[Series]]:
    """Give the values of expressions, asked in one request by the dozen.

    What cannot be asked together (a scalar, or beside an expression that Prometheus refuses) is not in the result.

    Args:
        ask: Gives an expression's value now.
        exprs: The expressions.
    """
    left, known = iter(dict.fromkeys(exprs)), {}
    while chunk := list(islice(left, _AT_ONCE)):
        try:
            found = ask(build_union(chunk))
        except ServiceApiError:
            continue
        values: dict[str, list[Series]] = {str(number): [] for number in range(len(chunk))}
        for series in found:
            labels = dict(series.labels)
            values[labels.pop(_LABEL)].append(replace(series, labels=labels))
        known |= {expr: values[str(number)] for number, expr in enumerate(chunk)}
    return known


def build_union(exprs: Sequence[str]) -> str:
    """Give one expression that gives the series of all, each with the number of its expression as a label."""
    # A comment at an expression's end must not hide what stands behind it.
    parts = (f'label_replace((\n{expr}\n), "{_LABEL}", "{at}", "", "")' for at, expr in enumerate(exprs))
    return "\nor ".join(parts)
