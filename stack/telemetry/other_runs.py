"""Run metrics of what is neither a boot nor a smoke run. Cardinality is bounded: the last `RUNS_KEPT` of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Gauge

RUNS_KEPT = 10


@dataclass(frozen=True)
class StoredBench:
    """What a bench says beyond what every run says.

    Attributes:
        preset: Its load's name; of a sweep, with that word behind it.
        model: The model and its revision.
        output_tokens_per_second: What was generated, the median of its repeats.
    """

    preset: str
    model: str
    output_tokens_per_second: float


@dataclass(frozen=True)
class StoredRun:
    """A replay, an upgrade, or another run that the history keeps.

    Attributes:
        kind: What it was, in one word.
        started_at_seconds: Unix time at which it began.
        is_passed: What it was judged to be.
        commit: vLLM's commit that it ran on, or an empty string.
        latencies_seconds: What it measured: (`ttft`, `itl` or `e2e`; `p50`, `p95` or `p99`) -> seconds.
        bench: What a bench measured.
    """

    kind: str
    started_at_seconds: float
    is_passed: bool
    commit: str = ""
    latencies_seconds: Mapping[tuple[str, str], float] = field(default_factory=dict)
    bench: StoredBench | None = None


def render_other_runs(runs: Sequence[StoredRun]) -> str:
    """Give the newest runs in Prometheus' text format.

    Args:
        runs: The newest first.
    """
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    about = "Whether a replay or another run passed, 1 or 0."
    passed = build_gauge(registry, "stack_run_passed", about, "kind", "run", "commit")
    about = "A latency that a run measured."
    latency = build_gauge(registry, "stack_run_latency_seconds", about, "kind", "run", "latency", "percentile")
    about = "What a bench generated, in tokens a second: the median of its repeats."
    labels = ("run", "commit", "model", "preset")
    speed = build_gauge(registry, "stack_bench_output_tokens_per_second", about, *labels)
    for run in runs[:RUNS_KEPT][::-1]:
        name = build_run_name(run.started_at_seconds)
        if run.bench is not None:
            found = speed.labels(run=name, commit=run.commit, model=run.bench.model, preset=run.bench.preset)
            found.set(run.bench.output_tokens_per_second)
        passed.labels(kind=run.kind, run=name, commit=run.commit).set(int(run.is_passed))
        for (which, percentile), seconds in run.latencies_seconds.items():
            latency.labels(kind=run.kind, run=name, latency=which, percentile=percentile).set(seconds)
    return generate_latest(registry).decode()


def build_run_name(moment_seconds: float) -> str:
    """Give what a boot or run is called in labels: its UTC time, so that names sort as they happened."""
    return datetime.fromtimestamp(moment_seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def build_gauge(registry: CollectorRegistry, name: str, about: str, *labels: str) -> Gauge:
    """Give a new gauge of a registry."""
    from prometheus_client import Gauge

    return Gauge(name, about, labels, registry=registry)
