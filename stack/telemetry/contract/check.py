"""Hold files of queries against an inventory, and run them where a Prometheus answers."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from stack.errors import ServiceApiError
from stack.telemetry.contract.empty import EmptyExplainer, Reason, find_rules
from stack.telemetry.contract.grafana_file import read_dashboard
from stack.telemetry.contract.inventory import Inventory
from stack.telemetry.contract.lint import Linted, lint
from stack.telemetry.contract.names import load_names
from stack.telemetry.contract.query import Fault, Place, Query, QueryFile, find_spot
from stack.telemetry.contract.resolve import resolve_names
from stack.telemetry.contract.rule_file import read_rules
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


def load_query_file(path: Path, known_datasources: Sequence[str] = ()) -> QueryFile:
    """Read a dashboard (JSON) or a rule file (YAML); what cannot be read is a fault of the file."""
    name = str(path)
    try:
        text = path.read_text(encoding="utf-8")
        is_json = path.suffix.lower() == ".json"
        document: Any = json.loads(text) if is_json else yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as err:
        return _unreadable(name, f"it cannot be read: {err}")
    except (json.JSONDecodeError, yaml.YAMLError) as err:
        return _unreadable(name, f"it is neither JSON nor YAML: {' '.join(str(err).split())}")
    if not isinstance(document, dict):
        return _unreadable(name, "it holds no object")
    try:
        is_rules = "groups" in document or "groups" in (document.get("spec") or {})
        return read_rules(name, document) if is_rules else read_dashboard(name, document, known_datasources)
    except (TypeError, AttributeError, ValueError) as err:
        return _unreadable(name, f"it is not built as a dashboard or a rule file is: {err}")


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


def _unreadable(name: str, message: str) -> QueryFile:
    return QueryFile(name, faults=(Fault("unreadable", Place(name, "panel", ""), message),))


def _check_all(
    files: Sequence[QueryFile], inventory: Inventory, scrape_interval_seconds: float, records: Collection[str]
) -> Iterator[Fault]:
    yield from _find_duplicates(files)
    for file in files:
        yield from file.faults
        for query in file.queries:
            yield from _check_query(query, inventory, scrape_interval_seconds, records)


def _find_duplicates(files: Sequence[QueryFile]) -> Iterator[Fault]:
    first: dict[str, str] = {}
    for file in files:
        if file.uid is None:
            continue
        if file.uid in first:
            message = f"its uid `{file.uid}` is that of {first[file.uid]} too: Grafana shows only one of them"
            yield Fault("duplicate-uid", Place(file.path, "panel", ""), message, "give it another uid")
        first.setdefault(file.uid, file.path)


def _check_query(
    query: Query, inventory: Inventory, scrape_interval_seconds: float, records: Collection[str]
) -> Iterator[Fault]:
    unknown = find_unknown(query.expr)
    if unknown is not None:
        message = f"the variable `{unknown}` has no value here"
        yield Fault("not-understood", query.place, message, None, *find_spot(query.text, unknown))
        return
    try:
        tree = parse(query.expr)
    except ValueError as err:
        yield Fault("syntax", query.place, f"it is no PromQL: {err}", None, 1, 1)
        return
    yield from resolve_names(query, tree, inventory, load_names(), records)
    yield from lint(Linted(query, tree, inventory, scrape_interval_seconds))
