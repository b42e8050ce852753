"""Put a day of samples into the Prometheus of a running stack, and let its recording rules tell of that day."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from cost_backfill import Source, build_gpu_sources, build_source, render_samples
from docker.models.containers import Container

from stack.assets import asset_path
from stack.telemetry.exposition import parse_exposition
from stack.telemetry.prometheus_api import PrometheusApi

BLOCK_SECONDS = 7200
"""How long a block of Prometheus is, and so how much text is written at once."""
READY_SECONDS = 120.0
_OWN_LABELS = {"job": "vllm", "instance": "engine"}
# Not what `__name__` values tell: the running Prometheus evaluates the same rules, on what came after the day.
_RECORDED = 'group by (__name__) (last_over_time({{__name__=~".+:.+", __name__!~"vllm:.+"}}[{seconds}s]))'
Say = Callable[[str], None]


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
    command = (
        "cat > /prometheus/samples && promtool tsdb create-blocks-from openmetrics /prometheus/samples /prometheus"
        " && rm /prometheus/samples"
    )
    count = 0
    for start in range(begin // BLOCK_SECONDS * BLOCK_SECONDS, end, BLOCK_SECONDS):
        times = range(max(start, begin), min(start + BLOCK_SECONDS, end), interval)
        say(f"backfilling {(end - times[0]) / 3600:.0f} h more")
        text = "".join([*render_samples(sources, begin, times), "# EOF\n"])
        _execute(container, ["sh", "-c", command], text)
        count += len(times) * len(sources)
    return count


def record_rules(container: Container, api: PrometheusApi, begin: int, end: int, interval: int, say: Say) -> int:
    """Evaluate the recording rules over the same time; give how many names they made.

    promtool lets no rule see what another makes, so those that made nothing are run again until none does.
    """
    groups = [
        group
        for path in sorted(asset_path("prometheus", "rules").glob("*.yaml"))
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    ]
    command = (
        "cat > /prometheus/rules && promtool tsdb create-blocks-from rules --url http://localhost:9090"
        f" --start {begin} --end {end} --eval-interval {interval}s --output-dir /prometheus /prometheus/rules"
        " && rm /prometheus/rules"
    )
    found: set[str] = set()
    before = None
    while before != found:
        before = found
        text = yaml.safe_dump({"groups": leave_out(groups, found)})
        say(f"evaluating the recording rules over the day: {len(found)} names so far")
        _execute(container, ["sh", "-c", command], text)
        restart(container, api)
        made = api.query(_RECORDED.format(seconds=end - begin), at_seconds=end)
        found = {series.labels["__name__"] for series in made}
    return len(found)


def read_disk_megabytes(container: Container) -> float:
    """Give what Prometheus' volume holds."""
    return float(_execute(container, ["du", "-sk", "/prometheus"], "").split()[0]) * 1024 / 1e6


def leave_out(groups: Sequence[Mapping[str, Any]], names: Collection[str]) -> list[dict[str, Any]]:
    """Give the groups without alerts and without the rules that make one of these names."""
    kept = [
        {**group, "rules": [rule for rule in group["rules"] if rule.get("record", "") not in {"", *names}]}
        for group in groups
    ]
    return [group for group in kept if group["rules"]]


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
