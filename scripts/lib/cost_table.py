"""The lines that `scripts/speed cost` prints."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cost_engine import Window, bound_median, compare_pairs, share_cpu
from cost_queries import Timed

LEAST_RATIO, MOST_MILLISECONDS = 0.99, 300.0
FEWEST_PAIRS = 6
"""Of fewer, not even all values bound the median 19 times of 20."""
SLOWEST = 10
"""How many queries the table shows; the JSON document has all."""


@dataclass(frozen=True)
class Row:
    """One line of the table: `value` is the median unless the unit says otherwise.

    `met` is None without a target, and where what was measured does not tell.
    """

    name: str
    unit: str
    value: float
    min: float
    max: float
    runs: int
    target: float | None = None
    met: bool | None = None
    series: int | None = None
    """How many series a query gave."""


def build_row(name: str, unit: str, values: Sequence[float]) -> Row:
    """Give the line of a figure that was taken several times."""
    return Row(name, unit, statistics.median(values), min(values), max(values), len(values))


def build_engine_rows(
    windows: Sequence[Window], cores: int, scrapes: Sequence[float], interval_seconds: float
) -> tuple[list[Row], list[str]]:
    """Give the lines of the engine's part, and what is to be said of them.

    Args:
        windows: What was measured under the load.
        cores: Of the machine.
        scrapes: How many seconds each scrape of the engine's page took meanwhile, from asking to the last byte.
        interval_seconds: Between two scrapes.
    """
    measured, control = compare_pairs(windows)
    speeds = {kind: [one.tokens_per_second for one in windows if one.has_services is kind] for kind in (True, False)}
    low, high = bound_median(measured)
    ratio = replace(build_row("with / paused, in pairs", "ratio", measured), target=LEAST_RATIO)
    rows = [
        build_row("engine with the services", "tokens/s", speeds[True]),
        build_row("engine with the services paused", "tokens/s", speeds[False]),
        replace(ratio, met=_judge(len(measured), low, high)),
    ]
    if control:
        rows.append(build_row("control: the same twice, in pairs", "ratio", control))
    services, pages = share_cpu(windows, cores), [one / interval_seconds / cores for one in scrapes]
    rows.append(build_row("CPU of the services, of the machine", "%", [100 * one for one in services]))
    if pages:
        rows.append(build_row("the engine's page for them, at most", "%", [100 * one for one in pages]))
        page = statistics.fmean(pages)
        # What they take is little and steady, where tokens a second are neither: this tells on a noisy machine, too.
        left = build_row("CPU time that they leave", "ratio", [1 - one - page for one in services])
        rows.append(replace(left, target=LEAST_RATIO, met=left.min >= LEAST_RATIO))
    return rows, [f"19 times of 20 the true median of the ratio lies between {low:.3f} and {high:.3f}"]


def _judge(pairs: int, low: float, high: float) -> bool | None:
    """Tell whether the target is met; where the machine is noisier than what is aimed at, a median says nothing."""
    return None if pairs < FEWEST_PAIRS or low < LEAST_RATIO <= high else low >= LEAST_RATIO


def build_query_rows(timed: Sequence[Timed]) -> tuple[list[Row], list[str]]:
    """Give the lines of the slowest queries by their 95th percentile, and what is to be said of all."""
    ordered = sorted(timed, key=lambda one: one.p95_seconds, reverse=True)
    rows = [_build_query_row(one) for one in ordered]
    within, empty = sum(bool(row.met) for row in rows), sum(not one.series_count for one in timed)
    all_p95 = [row.value for row in rows]
    middle = f"the median query's p95 is {statistics.median(all_p95):.0f} ms, the slowest one's {all_p95[0]:.0f} ms"
    limit = f"{within} of {len(rows)} queries have a p95 within {MOST_MILLISECONDS:.0f} ms ({empty} gave no series)"
    return rows, [middle, limit]


def _build_query_row(one: Timed) -> Row:
    took, p95 = [1000 * seconds for seconds in one.seconds], 1000 * one.p95_seconds
    is_met = p95 <= MOST_MILLISECONDS
    return Row(
        one.query.name, "ms, p95", p95, min(took), max(took), len(took), MOST_MILLISECONDS, is_met, one.series_count
    )


def pick_shown(rows: Sequence[Row]) -> list[Row]:
    """Give the rows that a person wants to see: all that miss their target, and of the queries else the slowest."""
    queries = [row for row in rows if row.series is not None]
    return [row for row in rows if row.series is None or row.met is False or row in queries[:SLOWEST]]


def render_rows(rows: Sequence[Row], notes: Sequence[str]) -> str:
    """Give the table as text, with what is to be said below it."""
    lines = [f"{'FIGURE':58} {'UNIT':8} {'VALUE':>8} {'MIN':>8} {'MAX':>8} {'N':>4} {'TARGET':>8}  MET"]
    for row in rows:
        met = {None: "" if row.target is None else "unsure", True: "yes", False: "NO"}[row.met]
        target = "" if row.target is None else f"{'>=' if row.unit == 'ratio' else '<='} {row.target:g}"
        digits = {"ratio": 3, "series": 0}.get(row.unit, 1)
        figures = " ".join(f"{value:8.{digits}f}" for value in (row.value, row.min, row.max))
        lines.append(f"{row.name[:58]:58} {row.unit:8} {figures} {row.runs:4} {target:>8}  {met}".rstrip())
    return "\n".join([*lines, *notes])
