"""Put a day of samples into the Prometheus of a running stack, and let its recording rules tell of that day."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from cost_backfill import Source, build_gpu_sources, build_source, render_samples
from docker.models.containers import Container

from stack.assets import asset_path
from stack.config.quantities import parse_duration_seconds
from stack.telemetry.exposition import parse_exposition
from stack.telemetry.prometheus_api import PrometheusApi, Series

BLOCK_SECONDS = 7200
"""How long a block of Prometheus is, and so how much text is written at once."""
READY_SECONDS = 120.0
_OWN_LABELS = {"job": "vllm", "instance": "engine"}
Say = Callable[[str], None]


@dataclass(frozen=True)
class Recording:
    """A recording rule, and how often it is evaluated."""

    name: str
    expr: str
    labels: Mapping[str, str]
    interval_seconds: float


def read_sources(api: PrometheusApi, page: Path, model: str) -> list[Source]:
    """Give what a day has series of: a recorded page of the engine, two boards, and live the stack's everything else.

    Args:
        api: The stack's Prometheus.
        page: The engine's page.
        model: The served model name, in the place of the page's.
    """
    sources = read_engine_sources(page, model)
    sources += build_gpu_sources(asset_path("compose", "dcgm-exporter", "counters.csv").read_text(encoding="utf-8"))
    for series in [*api.query('{job!="vllm", job!=""}'), *api.query('{job="vllm", __name__=~"up|scrape_.+"}')]:
        labels = dict(series.labels)
        name = labels.pop("__name__")
        if not name.startswith("ALERTS"):
            sources.append(build_source(name, labels, series.value))
    return sources


def read_engine_sources(page: Path, model: str) -> list[Source]:
    """Give the series of an engine's page that the stack's Prometheus keeps."""
    return [
        build_source(one.name, {**one.labels, **_rename(one.labels, model), **_OWN_LABELS}, one.value)
        for one in parse_exposition(page.read_text(encoding="utf-8")).samples
        if not one.name.endswith("_created")
    ]


def _rename(labels: Mapping[str, str], model: str) -> dict[str, str]:
    return {"model_name": model} if "model_name" in labels else {}


def write_blocks(container: Container, sources: Sequence[Source], begin: int, end: int, interval: int, say: Say) -> int:
    """Backfill every series from begin to end; give how many samples that are."""
    count = 0
    for start, stop in list_blocks(begin, end):
        times = range(start, stop, interval)
        say(f"backfilling {(end - start) / 3600:.0f} h more")
        _write_block(container, render_samples(sources, begin, times))
        count += len(times) * len(sources)
    return count


def list_blocks(begin: int, end: int) -> list[tuple[int, int]]:
    """Give where each of Prometheus' blocks begins and ends."""
    starts = range(begin // BLOCK_SECONDS * BLOCK_SECONDS, end, BLOCK_SECONDS)
    return [(max(start, begin), min(start + BLOCK_SECONDS, end)) for start in starts]


def record_rules(container: Container, api: PrometheusApi, begin: int, end: int, interval: int, say: Say) -> int:
    """Evaluate the recording rules over the same time; give how many names they made.

    A rule sees what others make only once that is in a block, so those that made nothing are tried again until none
    does. Not with promtool's own `create-blocks-from rules`, which writes a block for each rule: a thousand a day.
    """
    left, made = load_rules(asset_path("prometheus", "rules"), interval), set[str]()
    while left:
        idle = set(range(len(left)))
        for start, stop in list_blocks(begin, end):
            say(f"evaluating {len(left)} recording rules, {(end - start) / 3600:.0f} h more")
            texts = {number: _record(api, rule, start, stop) for number, rule in enumerate(left)}
            gave = [number for number, text in texts.items() if text]
            idle -= set(gave)
            if gave:
                _write_block(container, [texts[number] for number in gave])
        made |= {rule.name for number, rule in enumerate(left) if number not in idle}
        if len(idle) == len(left):
            break
        left = [left[number] for number in sorted(idle)]
        restart(container, api)
    return len(made)


def load_rules(folder: Path, interval: int) -> list[Recording]:
    """Give the recording rules of a folder; a group that says no interval has the usual one."""
    groups = [
        group
        for path in sorted(folder.glob("*.yaml"))
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    ]
    return [
        Recording(rule["record"], rule["expr"], rule.get("labels", {}), _read_interval(group, interval))
        for group in groups
        for rule in group["rules"]
        if "record" in rule
    ]


def _read_interval(group: Mapping[str, Any], usual: int) -> float:
    return parse_duration_seconds(group["interval"]) if "interval" in group else usual


def _record(api: PrometheusApi, rule: Recording, start: int, stop: int) -> str:
    step = rule.interval_seconds
    found = api.query_range(rule.expr, start_seconds=start, end_seconds=stop - 1, step_seconds=step)
    return "".join(render_recorded(rule, series) for series in found)


def render_recorded(rule: Recording, series: Series) -> str:
    """Give the samples of a recording rule as text, from what its expression gave."""
    labels = {name: value for name, value in series.labels.items() if name != "__name__"} | dict(rule.labels)
    begin = build_source(rule.name, labels, 0.0).text
    return "".join(f"{begin} {value} {at}\n" for at, value in series.points)


def _write_block(container: Container, series: Iterable[str]) -> None:
    command = (
        "cat > /prometheus/samples && promtool tsdb create-blocks-from openmetrics /prometheus/samples /prometheus"
        " && rm /prometheus/samples"
    )
    _execute(container, ["sh", "-c", command], "".join([*series, "# EOF\n"]))


def read_disk_megabytes(container: Container) -> float:
    """Give what Prometheus' volume holds."""
    return float(_execute(container, ["du", "-sk", "/prometheus"], "").split()[0]) * 1024 / 1e6


def restart(container: Container, api: PrometheusApi) -> None:
    """Restart Prometheus, so that it reads its new blocks now."""
    container.restart()
    deadline = time.monotonic() + READY_SECONDS
    while not api.is_ready():
        if time.monotonic() > deadline:
            raise SystemExit(f"Prometheus was not ready {READY_SECONDS:.0f} s after its restart")
        time.sleep(0.2)


def _execute(container: Container, argv: Sequence[str], text: str) -> str:
    done = subprocess.run(["docker", "exec", "-i", container.id, *argv], input=text, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(argv)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout
