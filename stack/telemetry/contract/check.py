"""Hold files of queries against an inventory, and run them where a Prometheus answers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from stack.errors import ServiceApiError
from stack.telemetry.contract.empty import EmptyExplainer, Reason, find_rules
from stack.telemetry.contract.inventory import Inventory
from stack.telemetry.contract.lint import Linted, lint
from stack.telemetry.contract.names import load_names
from stack.telemetry.contract.query import Fault, Place, Query, QueryFile, find_spot
from stack.telemetry.contract.resolve import resolve_names
from stack.telemetry.contract.syntax import parse
from stack.telemetry.contract.variables import find_unknown
from stack.telemetry.prometheus_api import Series

Outcome = Literal["ok", "empty", "conditional", "dead", "error"]


@dataclass(frozen=True)
class Answer:
    """What became of one query when it was run.

    Attributes:
        query: The query.
        outcome: `ok`: it gives numbers, or is an alert that could fire and does not; `conditional`: it gives none as
            long as something has not happened, or is not there; `empty`: its metrics exist, and it gives none for no
            reason that is known; `dead`: one of its metrics does not exist; `error`: Prometheus refused it.
        reason: Why, where it gives no number.
        series_count: How many series came back.
        seconds: How long Prometheus took.
    """

    query: Query
    outcome: Outcome
    reason: str | None = None
    series_count: int = 0
    seconds: float = 0.0


def check_files(
    files: Sequence[QueryFile], inventory: Inventory, *, scrape_interval_seconds: float, records: Collection[str] = ()
) -> tuple[Fault, ...]:
    """Give every fault of the files, in their order.

    Args:
        files: What was read; what recording rules among them make counts as existing.
        inventory: What is exported.
        scrape_interval_seconds: How often it is scraped.
        records: Names that recording rules elsewhere make.
    """
    made = {*records, *(name for file in files for name in file.records)}
    return tuple(_check_all(files, inventory, scrape_interval_seconds, made))


def run_queries(
    queries: Iterable[Query],
    faults: Sequence[Fault],
    ask: Callable[[str], Sequence[Series]],
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Answer]:
    """Run every query and tell what became of it.

    Args:
        queries: The queries; those of recording rules among them explain the others.
        faults: What `check_files` found: a query with a dead or conditional name is told as such.
        ask: Gives an expression's value now, `PrometheusApi.query`.
        clock: Seconds that only grow.
    """
    queries = tuple(queries)
    explainer = EmptyExplainer(ask, load_names(), find_rules(queries))
    dead = {fault.place: fault for fault in faults if fault.rule in ("dead-metric", "dead-label", "dead-value")}
    conditional = {fault.place: fault for fault in faults if fault.rule == "conditional"}
    for query in queries:
        began = clock()
        try:
            found = ask(query.expr)
        except ServiceApiError as err:
            yield Answer(query, "error", err.message, seconds=clock() - began)
            continue
        seconds = clock() - began
        numbers = sum(not math.isnan(series.value) for series in found)
        if numbers:
            yield Answer(query, "ok", series_count=numbers, seconds=seconds)
        elif query.place in dead:
            yield Answer(query, "dead", dead[query.place].message, seconds=seconds)
        elif query.place in conditional:
            yield Answer(query, "conditional", conditional[query.place].message, seconds=seconds)
        else:
            yield _explain_empty(query, explainer.explain(query.expr, found), seconds)


def _explain_empty(query: Query, reason: Reason, seconds: float) -> Answer:
    if reason.kind == "quiet" and query.place.kind == "alert":
        return Answer(query, "ok", f"it does not fire: {reason.text}", seconds=seconds)
    return Answer(query, "empty" if reason.kind == "unknown" else "conditional", reason.text, seconds=seconds)


def _check_all(
    files: Sequence[QueryFile], inventory: Inventory, scrape_interval_seconds: float, records: Collection[str]
) -> Iterator[Fault]:
    yield from _find_duplicates(files)
    for file in files:
        yield from file.faults
        known = inventory if _asks_engine(file) else inventory.without_shared()
        for query in file.queries:
            yield from _check_query(query, known, scrape_interval_seconds, records)


def _asks_engine(file: QueryFile) -> bool:
    return any("vllm" in query.expr for query in file.queries)


def _find_duplicates(files: Sequence[QueryFile]) -> Iterator[Fault]:
    first: dict[str, str] = {}
    for file in files:
        for uid in file.uids:
            if uid in first:
                message = f"its uid `{uid}` is that of {first[uid]} too: Grafana shows only one of them"
                yield Fault("duplicate-uid", Place(file.path, "panel", ""), message, "give it another uid")
            first.setdefault(uid, file.path)


def _check_query(
    query: Query, inventory: Inventory, scrape_interval_seconds: float, records: Collection[str]
) -> Iterator[Fault]:
    unknown = find_unknown(query.expr)
    if unknown is not None:
        message = f"nothing says what the variable `{unknown}` stands for"
        is_rule = query.place.kind in ("alert", "record")
        hint = (
            "check the file that it is filled into"
            if is_rule
            else "define it in the dashboard, or save it with a value"
        )
        yield Fault("not-understood", query.place, message, hint, *find_spot(query.text, unknown))
    try:
        tree = parse(query.expr)
    except ValueError as err:
        if unknown is None:
            yield Fault("syntax", query.place, f"it is no PromQL: {err}", None, 1, 1)
        return
    yield from resolve_names(query, tree, inventory, load_names(), records)
    yield from lint(Linted(query, tree, inventory, scrape_interval_seconds))
