"""Why a query gives no number: the part that has none is named, and whether that is a fault is told."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pytest

from stack.errors import ServiceApiError
from stack.telemetry.contract.empty import EmptyExplainer, Reason, find_rules
from stack.telemetry.contract.names import load_names
from stack.telemetry.contract.query import Place, Query
from stack.telemetry.contract.syntax import parse
from stack.telemetry.prometheus_api import Series

Found = Mapping[str, float | list[dict[str, str]]]


def build_rule(name: str, expr: str) -> Query:
    return Query(Place("rules.yaml", "record", name, "group"), expr, expr)


def explain(expr: str, found: Found, *rules: Query) -> Reason:
    """Explain an expression on a Prometheus that has a number for the given ones, and nothing for any other."""
    known = {str(parse(text)): value for text, value in found.items()}

    def ask(text: str) -> Sequence[Series]:
        value = known.get(str(parse(text)), [])
        series = [({}, value)] if isinstance(value, float) else [(labels, 1.0) for labels in value]
        return [Series(labels, ((0.0, number),)) for labels, number in series]

    return EmptyExplainer(ask, load_names(), find_rules(rules)).explain(expr, ask(expr))


SUCCESS = [{"job": "vllm", "reason": "stop"}, {"job": "vllm", "reason": "length"}]
RATED: Found = {"rate(a[1m])": 1.0, "max(count_over_time(a[1m]))": 12.0}

CASES: list[tuple[str, Found, str, str]] = [
    # what is asked, what has numbers, the kind of the reason, a part of its text
    ("rate(a[1m]) > 5", RATED, "quiet", "`rate(a{}[1m])` is nowhere `> 5` now"),
    ("a and b", {"a": 1.0, "b": 1.0}, "quiet", "`and b{}` leaves nothing"),
    ("a unless b", {"a": 1.0}, "quiet", "`unless b{}` leaves nothing"),
    ("absent(a)", {"a": 1.0}, "quiet", "`a{}` is there"),
    ("rate(a[1m])", {"a": 1.0, "max(count_over_time(a[1m]))": 1.0}, "early", "seen less than twice"),
    ("max_over_time(sum(a)[1h:1m])", {"sum(a)": 1.0, "a": 1.0}, "early", "seen less than twice"),
    ("a / b", {"a": 0.0, "b": 0.0, "a / b": math.nan}, "early", "nothing to divide by"),
    ("a / (b > 0)", {"a": 1.0, "b": 0.0}, "quiet", "`b{}` is nowhere `> 0`"),
    ('c{reason="abort"}', {"c": SUCCESS}, "early", 'no `c` has reason="abort" yet; there are: length, stop'),
    ('c{reason!="stop",reason!="length"}', {"c": SUCCESS}, "early", "wants it yet"),
    ("c offset 1w", {"c": SUCCESS}, "early", "at that time"),
    ("sum(node_load1)", {}, "early", "exists only with node-exporter"),
    ("DCGM_FI_DEV_SM_CLOCK or d", {}, "early", "exists only with dcgm-exporter"),
    ('c{job="other"}', {"c": SUCCESS}, "unknown", 'job="other"'),
    ('c{colour="red"}', {"c": SUCCESS}, "unknown", "there are: none"),
    ("sum(d)", {}, "unknown", "`d` has not reached Prometheus"),
    ("a / c", {"a": 1.0, "c": SUCCESS}, "unknown", "no labels of one are those of the other"),
    ("label_replace(a, `x`, `y`, `z`, `w`)", {"a": 1.0}, "unknown", "`label_replace` gives nothing"),
    ('{__name__=~"e.+"}', {}, "unknown", "nothing matches"),
]


@pytest.mark.parametrize(("expr", "found", "kind", "text"), CASES, ids=[case[0] for case in CASES])
def test_the_part_that_has_no_number_is_told(expr: str, found: Found, kind: str, text: str) -> None:
    reason = explain(expr, found)
    assert (reason.kind, text in reason.text) == (kind, True), reason


def test_a_recorded_series_is_explained_by_its_rule() -> None:
    rule = build_rule("level:a:rate1m", "rate(a[1m]) > 0")
    quiet = explain("sum(level:a:rate1m)", RATED, rule)
    assert (quiet.kind, "is nowhere `> 0`" in quiet.text) == ("quiet", True)
    early = explain("sum(level:a:rate1m)", {**RATED, "rate(a[1m]) > 0": 1.0}, rule)
    assert (early.kind, "has not been judged" in early.text) == ("early", True)
    lost = explain("sum(level:a:rate1m)", {}, rule)
    assert lost == Reason("`a` has not reached Prometheus", "unknown")


def test_a_matcher_keeps_its_quotes_and_backslashes() -> None:
    asked: list[str] = []

    def ask(text: str) -> Sequence[Series]:
        asked.append(text)
        return []

    EmptyExplainer(ask, load_names(), {}).explain('sum(a{b=~"x\\\\.y",c="\\"z\\""})', [])
    assert asked[0] == 'a{b=~"x\\\\.y",c="\\"z\\""}'


def test_a_prometheus_that_refuses_a_part_is_a_fault() -> None:
    def ask(text: str) -> Sequence[Series]:
        raise ServiceApiError("prometheus", "http://x", "too many samples")

    reason = EmptyExplainer(ask, load_names(), {}).explain("sum(a)", [])
    assert (reason.kind, "too many samples" in reason.text) == ("unknown", True)
