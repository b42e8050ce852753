"""The stack's own dashboards, rules and alerts as the smoke test asks for them: held against the running engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from stack.checks.smoke.contract import QueryState
from stack.errors import StackError
from stack.operations.dashboards.check import OWN_DATASOURCE, complete_inventory, read_own_records
from stack.telemetry.contract.check import check_files, run_queries
from stack.telemetry.contract.empty import Ask
from stack.telemetry.contract.inventory import Inventory, build_inventory
from stack.telemetry.contract.load import load_query_file
from stack.telemetry.contract.query import Fault, Place, Query
from stack.telemetry.contract.together import ask_together
from stack.telemetry.exposition import Exposition, parse_exposition
from stack.telemetry.prometheus_api import PrometheusApi

FOLDERS = (("grafana", "dashboards", "*.json"), ("prometheus", "rules", "*.yaml"))
# The rest of what `check_files` finds does not change with the engine that runs.
_OUTCOMES: Mapping[str, Literal["dead", "error"]] = {
    "dead-metric": "dead",
    "dead-label": "dead",
    "dead-value": "dead",
    "syntax": "error",
    "unreadable": "error",
}
_FINISHED = "vllm:request_success_total"
_BEGIN_SECONDS = 3.0


class ContractFacts:
    """Dashboards, rules and alerts as the checks ask for them.

    Args:
        rendered: The folder of rendered files, whose dashboards and rules are what Grafana and Prometheus read.
        fetch_metrics: Gives the engine's page, within so many seconds; None: as long as for any request.
        version: The engine's version, or None.
        api: Prometheus, or None.
        scrape_interval_seconds: How often it scrapes.
    """

    def __init__(
        self,
        rendered: Path,
        fetch_metrics: Callable[[float | None], str],
        *,
        version: str | None,
        api: PrometheusApi | None,
        scrape_interval_seconds: float,
    ) -> None:
        self._rendered, self._fetch_metrics = rendered, fetch_metrics
        self._version, self._api, self._interval_seconds = version, api, scrape_interval_seconds
        self._before = 0.0

    def begin(self) -> None:
        """Note what the engine has done until now, before smoke sends its first request."""
        try:
            # Before any check, so within no check's limit.
            self._before = self._fetch_page(_BEGIN_SECONDS).total(_FINISHED) or 0.0
        except StackError:
            # An engine that does not answer is told by the checks that ask it.
            self._before = 0.0

    def has_arrived(self) -> bool:
        """Tell whether Prometheus has scraped requests that ended since this smoke test began."""
        if self._api is None:
            return True
        found = self._api.query(f"sum({_FINISHED})")
        return any(series.value > self._before for series in found)

    def look(self) -> Sequence[QueryState]:
        """Hold every query against what is exported, and run it once where there is a Prometheus."""
        files = tuple(load_query_file(path, (OWN_DATASOURCE,)) for path in find_own_files(self._rendered))
        queries = [query for file in files for query in file.queries]
        faults = check_files(
            files, self._read_inventory(), scrape_interval_seconds=self._interval_seconds, records=read_own_records()
        )
        places = {query.place for query in queries}
        unread = [fault for fault in faults if fault.rule in _OUTCOMES and fault.place not in places]
        broken = [QueryState(self._name(fault.place), "", "error", fault.message, fault.hint) for fault in unread]
        return [*broken, *self._judge(queries, faults)]

    def _fetch_page(self, timeout_seconds: float | None = None) -> Exposition:
        return parse_exposition(self._fetch_metrics(timeout_seconds))

    def _read_inventory(self) -> Inventory:
        own = replace(build_inventory(self._fetch_page(), "the engine's /metrics"), version=self._version)
        return complete_inventory(own, self._api) or own

    def _judge(self, queries: Sequence[Query], faults: Sequence[Fault]) -> Iterator[QueryState]:
        errors = {fault.place: fault for fault in reversed(faults) if fault.rule in _OUTCOMES}
        answers = run_queries(queries, faults, self._ask_ahead(queries)) if self._api is not None else ()
        outcomes = {id(answer.query): answer for answer in answers}
        for query in queries:
            fault, answer = errors.get(query.place), outcomes.get(id(query))
            place = self._name(query.place)
            if fault is not None:
                yield QueryState(place, query.expr, _OUTCOMES[fault.rule], fault.message, fault.hint)
            elif answer is not None:
                yield QueryState(place, query.expr, answer.outcome, answer.reason or "")
            else:
                yield QueryState(place, query.expr, "named")

    def _ask_ahead(self, queries: Sequence[Query]) -> Ask:
        """Ask all queries, many at once; give what answers them, and asks whatever else is wanted."""
        assert self._api is not None
        ask = self._api.query
        known = ask_together(ask, (query.expr for query in queries))
        return lambda expr: known[expr] if expr in known else ask(expr)

    def _name(self, place: Place) -> str:
        return str(replace(place, file=str(Path(place.file).relative_to(self._rendered))))


def find_own_files(rendered: Path) -> list[Path]:
    """Give the rendered dashboards and rules, by name."""
    return [path for *folder, pattern in FOLDERS for path in sorted(rendered.joinpath(*folder).glob(pattern))]
