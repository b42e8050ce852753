"""How long Prometheus takes for each query of the dashboards, asked as Grafana asks it for the last day."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from stack.telemetry.contract.load import load_query_file
from stack.telemetry.contract.variables import Standing, read_values, substitute

PANEL_PIXELS = 1280
"""A panel over the whole width of a common screen: Grafana asks for at most so many points."""
_NICE_STEPS = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600)


@dataclass(frozen=True)
class Asked:
    """One query of a dashboard as Prometheus is asked it."""

    name: str
    expr: str
    is_instant: bool


@dataclass
class Timed:
    """A query, how long each of its answers took, and how many series the last one had."""

    query: Asked
    seconds: list[float] = field(default_factory=list)
    series_count: int = 0

    @property
    def p95_seconds(self) -> float:
        """What 95 of 100 answers took no longer than."""
        return pick_percentile(self.seconds, 0.95)


def pick_step_seconds(range_seconds: float, pixels: int = PANEL_PIXELS) -> int:
    """Give the step that Grafana takes: the range over the panel's pixels, rounded to the nearest nice one.

    Source: grafana packages/grafana-data/src/datetime/rangeutil.ts (roundInterval)
    """
    exact = range_seconds / pixels
    edges = ((low + high) / 2 for low, high in zip(_NICE_STEPS, _NICE_STEPS[1:], strict=False))
    return _NICE_STEPS[sum(exact >= edge for edge in edges)]


def build_values(range_seconds: int, scrape_interval_seconds: int) -> dict[str, str]:
    """Give Grafana's own variables for a view of this range.

    Source: https://grafana.com/docs/grafana/latest/datasources/prometheus/template-variables/ ($__rate_interval)
    """
    step = pick_step_seconds(range_seconds)
    return {
        "__interval": f"{step}s",
        "__interval_ms": f"{step * 1000}",
        "__rate_interval": f"{max(step + scrape_interval_seconds, 4 * scrape_interval_seconds)}s",
        "__range": f"{range_seconds}s",
        "__range_s": f"{range_seconds}",
        "__range_ms": f"{range_seconds * 1000}",
    }


def load_queries(folder: Path, values: dict[str, str]) -> list[Asked]:
    """Give every query of every dashboard: panels, collapsed rows too, variables and annotations."""
    found = []
    for path in sorted(folder.glob("*.json")):
        board = json.loads(path.read_text(encoding="utf-8"))
        known = read_values(board["templating"]["list"]) | {name: Standing(one, one) for name, one in values.items()}
        for query in load_query_file(path).queries:
            expr = substitute(query.text, known)
            place = query.place
            ref = f" ({place.ref})" if place.ref else ""
            found.append(Asked(f"{board['uid']}: {place.name}{ref}", expr, query.is_instant))
    return found


def measure(
    queries: Sequence[Asked],
    ask: Callable[[Asked, int], int],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Timed]:
    """Ask every query so often, all of them in turn, so that what the machine does meanwhile meets each alike.

    Args:
        queries: The queries.
        ask: Asks one, given the number of the turn; gives how many series came back.
        repeats: How many turns; one more before them warms up and does not count.
        clock: Seconds that only grow.
    """
    timed = [Timed(query) for query in queries]
    for turn in range(repeats + 1):
        for one in timed:
            began = clock()
            one.series_count = ask(one.query, turn)
            if turn:
                one.seconds.append(clock() - began)
    return timed


def pick_percentile(values: Sequence[float], share: float) -> float:
    """Give the smallest value that at least this share of all does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


class Asker:
    """Asks a Prometheus over HTTP; a day's view that ends at a fixed time, a step earlier with each turn."""

    def __init__(self, client: httpx2.Client, url: str, end: int, range_seconds: int) -> None:
        self._client, self._url, self._end, self._range = client, url, end, range_seconds
        self._step = pick_step_seconds(range_seconds)

    def __call__(self, query: Asked, turn: int) -> int:
        """Ask, and read the whole answer.

        Raises:
            RuntimeError: Prometheus refuses the query.
        """
        end = self._end // self._step * self._step - turn * self._step
        form: dict[str, object] = {"query": query.expr, "time": end}
        if not query.is_instant:
            form = {"query": query.expr, "start": end - self._range, "end": end, "step": self._step}
        path = "query" if query.is_instant else "query_range"
        answer = self._client.post(f"{self._url}/api/v1/{path}", data=form, timeout=120)
        if not answer.is_success:
            raise RuntimeError(f"{query.name}: {answer.text}")
        # Not read as JSON: what is measured is Prometheus, not Python.
        return answer.content.count(b'"metric":')
