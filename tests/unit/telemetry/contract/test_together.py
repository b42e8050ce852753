"""Queries asked together are given their own series each."""

from __future__ import annotations

from collections.abc import Sequence

import promql_parser as promql

from stack.errors import ServiceApiError
from stack.telemetry.contract.together import ask_together, build_union
from stack.telemetry.prometheus_api import Series


def test_each_expression_gets_its_own_series_and_no_label_of_ours() -> None:
    asked: list[str] = []

    def ask(expr: str) -> Sequence[Series]:
        asked.append(expr)
        return [
            Series({"job": "vllm", "stack_query": "1"}, ((0.0, 5.0),)),
            Series({"job": "node", "stack_query": "1"}, ((0.0, 6.0),)),
        ]

    found = ask_together(ask, ["up == 0", "up", "up"])
    assert [len(found[expr]) for expr in ("up == 0", "up")] == [0, 2]
    assert [dict(series.labels) for series in found["up"]] == [{"job": "vllm"}, {"job": "node"}]
    assert len(asked) == 1


def test_what_prometheus_refuses_is_left_to_be_asked_alone() -> None:
    def ask(expr: str) -> Sequence[Series]:
        if "boom" in expr:
            raise ServiceApiError("prometheus", "http://x", "refused")
        return []

    found = ask_together(ask, [*(f"a{number}" for number in range(25)), "boom", "b"])
    assert set(found) == {f"a{number}" for number in range(25)}


def test_the_union_is_promql_also_where_an_expression_ends_in_a_comment() -> None:
    promql.parse(build_union(["up # all of them", "sum(a) or b"]))
