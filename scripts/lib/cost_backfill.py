"""A day of samples for a Prometheus: each series of a page, as it would have grown under a day's work.

The engine boots three times in a day, which resets its counters, and works in the last three quarters of most hours, so
that queries meet resets, work and gaps. Everything else runs through.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

DAY_SECONDS = 86_400
HOUR_SECONDS = 3600
BOOTS_SECONDS = (0, 7 * HOUR_SECONDS, 16 * HOUR_SECONDS)
"""When the engine booted, from the beginning of the day."""
RESTING_HOURS = (4, 5, 13)
BUSY_SHARE = 0.75
"""How much of an hour the engine works, up to its end, so that a day ends in work."""
PAGE_SECONDS = 60.0
"""In how much work the engine counted what its page shows."""
MOVING = {"vllm:num_requests_running": 8.0, "vllm:num_requests_waiting": 3.0, "vllm:kv_cache_usage_perc": 0.8}
"""Gauges that follow the work, with the value that they reach; a recorded page is mostly one of an idle engine."""
_COUNTERS = ("_total", "_sum", "_count", "_bucket")
_NOISE = tuple(random.Random(20260000).uniform(0.9, 1.1) for _ in range(997))


@dataclass(frozen=True)
class Source:
    """One series, and its value where it was seen."""

    name: str
    labels: Mapping[str, str]
    value: float
    is_counter: bool

    @property
    def text(self) -> str:
        """Its name and labels in the text format, whose escapes are those of JSON strings."""
        inside = ",".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in self.labels.items())
        return f"{self.name}{{{inside}}}"


def build_source(name: str, labels: Mapping[str, str], value: float) -> Source:
    """Give a series; one that is called as a counter is one."""
    return Source(name, labels, value, name.endswith(_COUNTERS))


def build_gpu_sources(fields: str, boards: int = 2) -> list[Source]:
    """Give what dcgm-exporter would export of so many boards.

    Args:
        fields: Its list: DCGM field, Prometheus type, help.
        boards: How many boards; none is here to be asked.
    """
    rows = [[part.strip() for part in line.split(",")] for line in fields.splitlines() if line.startswith("DCGM")]
    return [
        Source(name, {"job": "dcgm", "instance": "dcgm-exporter", **_describe_board(board)}, 50.5, kind == "counter")
        for board in range(boards)
        for name, kind, *_ in rows
    ]


def _describe_board(number: int) -> dict[str, str]:
    return {"gpu": str(number), "UUID": f"GPU-{number}", "device": f"nvidia{number}", "modelName": "a board"}


def count_busy_seconds(at_seconds: float) -> float:
    """Give how long the engine has worked since its last boot, at a time from the beginning of the day."""
    began = max(boot for boot in BOOTS_SECONDS if boot <= at_seconds)
    return _sum_busy(at_seconds) - _sum_busy(began)


def _sum_busy(until_seconds: float) -> float:
    hours, rest = divmod(until_seconds, HOUR_SECONDS)
    whole = sum(int(hour) not in RESTING_HOURS for hour in range(int(hours)))
    part = 0.0 if int(hours) in RESTING_HOURS else max(0.0, rest - (1 - BUSY_SHARE) * HOUR_SECONDS)
    return whole * BUSY_SHARE * HOUR_SECONDS + part


def render_samples(sources: Iterable[Source], begin: int, times: range) -> Iterator[str]:
    """Give the text of every series at these times, a series at a time, without the end mark.

    Args:
        sources: The series.
        begin: Unix time at which the day begins.
        times: Unix times in that day.
    """
    stamps = [f" {at}\n" for at in times]
    busy = [count_busy_seconds(at - begin) / PAGE_SECONDS for at in times]
    is_busy = [later > now for now, later in zip(busy, [*busy[1:], busy[-1]], strict=True)]
    past = [1 + (at - begin) / DAY_SECONDS for at in times]
    for number, source in enumerate(sources):
        noise = [_NOISE[(number * 31 + index * 7) % len(_NOISE)] for index in range(len(times))]
        if source.labels.get("job") == "vllm" and source.is_counter:
            values = [source.value * worked for worked in busy]
        elif source.is_counter:
            values = [source.value * share for share in past]
        elif source.name in MOVING:
            values = [MOVING[source.name] * share / 1.1 * works for share, works in zip(noise, is_busy, strict=True)]
        else:
            values = [source.value] * len(times) if source.value in (0, 1) else [source.value * by for by in noise]
        yield _render_series(source, values, stamps)


def _render_series(source: Source, values: list[float], stamps: list[str]) -> str:
    begin = source.text + " "
    if source.value.is_integer() and source.name != "vllm:kv_cache_usage_perc":
        return "".join([f"{begin}{value:.0f}{stamp}" for value, stamp in zip(values, stamps, strict=True)])
    return "".join([f"{begin}{value:.9g}{stamp}" for value, stamp in zip(values, stamps, strict=True)])
