"""The sections of `stack top`'s view: what engines do, how fast, and what their GPUs and alerts say. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from stack.checks.gpu_load import GpuLoad
from stack.operations.events import parse_time
from stack.operations.top.run import Alerts
from stack.operations.top.words import (
    NOTHING,
    describe_age,
    describe_gigabytes,
    describe_number,
    describe_percent,
    describe_quantile,
    describe_rate,
)
from stack.telemetry.live import SHARES, Counts, EngineLive, Live
from stack.telemetry.prometheus_api import Alert

Tone = Literal["", "title", "quiet", "good", "warn", "bad"]
Cell = tuple[str, str]
"""What it is, and how much."""

_LABEL, _CELL, _GAP = 11, 21, 2
_NAME, _COLUMN = 6, 9
_USUAL_WIDTH = 80
_LATENCY_NAMES = {"ttft": "TTFT", "itl": "ITL", "e2e": "E2E", "queue": "queue"}
# Shown also while there are none, so that nothing jumps; the others once there was one.
_USUAL_REASONS = ("stop", "length", "abort", "error")
_BAR_CELLS = 10


class Row(NamedTuple):
    """One line of the view.

    Attributes:
        text: What it says.
        tone: How it is meant, which a terminal may colour; the text says it, too.
    """

    text: str
    tone: Tone = ""


def build_activity(live: Live, width: int) -> list[Row]:
    """Give requests, tokens and the KV cache of all engines: cells in as many columns as there is room for."""
    total = live.total
    recent = total.recent
    has_several = len(live.parts) > 1
    told: list[tuple[str, list[Cell]]] = [
        ("requests", list(_list_requests(total, recent))),
        ("tokens", list(_list_tokens(recent))),
        ("KV fullest" if has_several else "KV cache", list(_list_cache(total, recent, has_several))),
    ]
    rows = [Row(_describe_window(live), "quiet")]
    for label, cells in told:
        rows += [Row(row) for row in lay_out(label, cells, width)]
    return rows


def lay_out(label: str, cells: Sequence[Cell], width: int) -> list[str]:
    """Give cells in rows behind a label: names to the left, values to the right, all of one width.

    A narrow terminal gets as many rows as one of 80 columns: the last cells go.
    """
    columns, usual = (max(1, (room - _LABEL + _GAP) // (_CELL + _GAP)) for room in (width, _USUAL_WIDTH))
    rows = []
    for start in range(0, min(len(cells), columns * -(-len(cells) // usual)), columns):
        shown = [f"{name} {value:>{_CELL - len(name) - 1}}" for name, value in cells[start : start + columns]]
        rows.append(f"{label if start == 0 else '':<{_LABEL}}" + (" " * _GAP).join(shown))
    return rows


def _describe_window(live: Live) -> str:
    recent = live.total.recent
    if recent is None or recent.seconds is None:
        return "now; rates come with the next look"
    return f"now, and per second over the last {recent.seconds:.1f} s"


def _list_requests(total: EngineLive, recent: Counts | None) -> Iterator[Cell]:
    yield "running", describe_number(total.running)
    yield "waiting", describe_number(total.waiting)
    yield "ended/s", _rate(recent, recent.requests if recent else None)
    for reason, count in total.whole.finished.items():
        if reason in _USUAL_REASONS or count > 0:
            yield f"{reason}/s", _rate(recent, recent.finished.get(reason) if recent else None)
    for reason, count in total.whole.refused.items():
        if count > 0:
            name = f"HTTP {reason}/s" if reason[:1].isdigit() else f"{reason}/s"
            yield name, _rate(recent, recent.refused.get(reason) if recent else None)
    if total.deferred:
        yield "deferred", describe_number(total.deferred)


def _list_tokens(recent: Counts | None) -> Iterator[Cell]:
    yield "generated/s", _rate(recent, recent.generation_tokens if recent else None)
    yield "prompt/s", _rate(recent, recent.prompt_tokens if recent else None)


def _list_cache(total: EngineLive, recent: Counts | None, has_several: bool) -> Iterator[Cell]:
    yield _draw_bar(total.kv_usage), describe_percent(total.kv_usage)
    yield "tokens in all" if has_several else "of tokens", describe_number(total.kv_tokens)
    yield "preempted/s", _rate(recent, recent.preemptions if recent else None)
    yield "prefix hits", describe_percent(recent.hit_ratio if recent else None)
    yield "hits so far", describe_percent(total.whole.hit_ratio)


def _draw_bar(share: float | None) -> str:
    filled = round(min(max(share or 0.0, 0.0), 1.0) * _BAR_CELLS)
    return f"[{'#' * filled}{'.' * (_BAR_CELLS - filled)}]"


def _rate(counts: Counts | None, count: float | None) -> str:
    return describe_rate(counts.per_second(count)) if counts is not None else NOTHING


def build_latency(live: Live, width: int) -> list[Row]:
    """Give the latencies' quantiles between the looks, and since the engine started where there is room."""
    groups = [("last look", live.total.recent), ("since start", live.total.whole)]
    if live.total.recent is not None and live.total.recent.seconds is not None:
        groups[0] = (f"last {live.total.recent.seconds:.1f} s", live.total.recent)
    heads = [f"p{share * 100:.0f}" for share in SHARES] + ["events"]
    columns = max(0, width - _NAME) // _COLUMN
    shown = [(name, counts) for place, (name, counts) in enumerate(groups) if (place + 1) * len(heads) <= columns]
    if not shown:
        shown, heads = groups[:1], heads[: max(1, columns)]
    group_width = len(heads) * _COLUMN
    above = "".join(f"{name:>{group_width}}" for name, _ in shown)
    rows = [
        Row(f"{'':<{_NAME}}{above}", "quiet"),
        Row(f"{'':<{_NAME}}" + "".join(f"{head:>{_COLUMN}}" for head in heads) * len(shown), "quiet"),
    ]
    for key, name in _LATENCY_NAMES.items():
        if key in live.total.whole.latencies:
            told = "".join(_render_latency(counts, key, len(heads)) for _, counts in shown)
            rows.append(Row(f"{name:<{_NAME}}{told}"))
    return rows if len(rows) > 2 else []


def _render_latency(counts: Counts | None, key: str, columns: int) -> str:
    latency = counts.latencies.get(key) if counts is not None else None
    values = [describe_quantile(latency, share) for share in SHARES]
    values.append(describe_number(latency.events if latency is not None else None))
    return "".join(f"{value:>{_COLUMN}}" for value in values[:columns])


def build_engines(live: Live, width: int) -> list[Row]:
    """Give a row for each engine, where there are several; columns go from the right where there is no room."""
    if len(live.parts) < 2:
        return []
    heads = ("run", "wait", "KV", "prompt/s", "gen/s", "TTFT p95", "ITL p95", "E2E p95")
    longest = max(len(_name(part)) for part in live.parts)
    columns = max(0, min(len(heads), (width - min(longest, 24)) // _COLUMN))
    name_width = min(longest, max(0, width - columns * _COLUMN))
    rows = [Row(f"{'engine':<{name_width}}" + "".join(f"{head:>{_COLUMN}}" for head in heads[:columns]), "quiet")]
    for part in live.parts:
        name, told = _name(part), _list_engine(part)[:columns]
        # Of a long name the end tells engines apart.
        name = name if len(name) <= name_width else f"..{name[len(name) - name_width + 2 :]}"
        rows.append(Row(f"{name:<{name_width}}" + "".join(f"{value:>{_COLUMN}}" for value in told)))
    return rows


def _name(part: EngineLive) -> str:
    return f"{part.model} #{part.engine}"


def _list_engine(part: EngineLive) -> list[str]:
    recent = part.recent
    latencies = recent.latencies if recent is not None else {}
    return [
        describe_number(part.running),
        describe_number(part.waiting),
        describe_percent(part.kv_usage),
        _rate(recent, recent.prompt_tokens if recent else None),
        _rate(recent, recent.generation_tokens if recent else None),
        *(describe_quantile(latencies.get(key), 0.95) for key in ("ttft", "itl", "e2e")),
    ]


def build_gpus(gpus: Sequence[GpuLoad]) -> list[Row]:
    """Give a row for each GPU: work, memory, power, temperature, its name, and what holds its clocks down."""
    rows = []
    for gpu in gpus:
        memory = f"{describe_gigabytes(gpu.used_bytes)} of {describe_gigabytes(gpu.total_bytes)} GB"
        celsius = NOTHING if gpu.temperature_celsius is None else f"{gpu.temperature_celsius} C"
        row = f"GPU {gpu.index:<6}{describe_percent(gpu.utilization):>7}  {memory:>16}  {_power(gpu):>12}  {celsius:>5}"
        slow = f"slow: {' and '.join(gpu.slowdowns)}" if gpu.slowdowns else ""
        rows.append(Row(f"{row}  {slow or gpu.name}", "warn" if slow else ""))
    return rows


def _power(gpu: GpuLoad) -> str:
    if gpu.power_watts is None:
        return NOTHING
    limit = f" of {gpu.power_limit_watts:.0f}" if gpu.power_limit_watts is not None else ""
    return f"{gpu.power_watts:.0f}{limit} W"


def build_alerts(alerts: Alerts, at: datetime.datetime, most: int) -> list[Row]:
    """Give what fires, at most so many alerts by name; then only how many more."""
    if alerts.active is None:
        return [Row(f"alerts not known: {alerts.why}", "quiet")]
    firing = [alert for alert in alerts.active if alert.state == "firing"]
    pending = len(alerts.active) - len(firing)
    waits = f", {pending} pending" if pending else ""
    if not firing:
        return [Row(f"alerts none firing{waits}", "warn" if pending else "")]
    rows = [Row(f"alerts {len(firing)} firing{waits}", "bad")]
    rows += [Row(f"  {_describe_alert(alert, at)}", "bad") for alert in firing[:most]]
    if len(firing) > most:
        rows.append(Row(f"  and {len(firing) - most} more", "bad"))
    return rows


def _describe_alert(alert: Alert, at: datetime.datetime) -> str:
    name, severity = alert.labels.get("alertname", "alert"), alert.labels.get("severity", "")
    since = ""
    if (began := parse_time(alert.active_at)) is not None:
        since = f", for {describe_age((at - began).total_seconds())}"
    summary = f": {alert.summary}" if alert.summary else ""
    return f"{name} ({severity or 'no severity'}{since}){summary}"
