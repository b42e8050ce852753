"""What engines do now: two looks at their page become gauges, counts of the time between, and counts since the start.

Pure. What a page does not have is None, never 0: other versions of vLLM lack series, and other servers nearly all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from stack.telemetry.diagnosis.looks import find_restart
from stack.telemetry.exposition import Exposition, counter_delta
from stack.telemetry.quantile import build_buckets, find_highest_bound, find_quantile

LATENCIES = MappingProxyType(
    {
        "ttft": "vllm:time_to_first_token_seconds",
        "itl": "vllm:inter_token_latency_seconds",
        "e2e": "vllm:e2e_request_latency_seconds",
        "queue": "vllm:request_queue_time_seconds",
    }
)
SHARES = (0.5, 0.95, 0.99)
_RUNNING = "vllm:num_requests_running"
_FINISHED = "vllm:request_success_total"
_REJECTED = "vllm:admission_rejections_total"
_HTTP = "http_requests_total"
_NOTHING = Exposition((), {})


@dataclass(frozen=True)
class Latency:
    """What a histogram tells of some events.

    Attributes:
        events: How many there were.
        quantiles: Seconds by share (0.5, 0.95, 0.99); empty where nothing can be told.
        highest_bound_seconds: The highest finite bound: what is equal to it may have taken longer.
    """

    events: float
    quantiles: Mapping[float, float] = field(default_factory=dict)
    highest_bound_seconds: float | None = None


@dataclass(frozen=True)
class Counts:
    """What happened in some time; None where the engine does not count it.

    Attributes:
        seconds: How long that was; None where it is not known.
        prompt_tokens: Prompt tokens of requests that gave their first token.
        generation_tokens: Tokens made.
        finished: Requests that ended, by vLLM's reason.
        refused: HTTP answers by error status (`4xx`, `5xx`), and `queue limit`; only for all engines
            together, because no engine is named there.
        preemptions: Requests that were thrown out of the batch and ran again.
        prefix_queries: Prompt tokens that were looked for in the prefix cache.
        prefix_hits: Those that were found.
        latencies: By name: `ttft`, `itl`, `e2e`, `queue`.
    """

    seconds: float | None
    prompt_tokens: float | None = None
    generation_tokens: float | None = None
    finished: Mapping[str, float] = field(default_factory=dict)
    refused: Mapping[str, float] = field(default_factory=dict)
    preemptions: float | None = None
    prefix_queries: float | None = None
    prefix_hits: float | None = None
    latencies: Mapping[str, Latency] = field(default_factory=dict)

    @property
    def requests(self) -> float | None:
        """Requests that ended, however they did."""
        return sum(self.finished.values()) if self.finished else None

    @property
    def hit_ratio(self) -> float | None:
        """The share of prompt tokens that the prefix cache had; None where none was looked for."""
        return self.prefix_hits / self.prefix_queries if self.prefix_queries and self.prefix_hits is not None else None

    def per_second(self, count: float | None) -> float | None:
        """Give a count of this time as a rate; None where either is not known."""
        return count / self.seconds if count is not None and self.seconds else None


@dataclass(frozen=True)
class EngineLive:
    """What one engine does with one model, or all of them together.

    Attributes:
        model: The served model name; None for all.
        engine: vLLM's number of the engine (data-parallel rank); None for all.
        running: Requests in the batch.
        waiting: Requests that wait, for room or for something else.
        deferred: Those of them that wait for an adapter, a KV transfer or the like.
        kv_usage: The share of the KV cache that requests hold, 0 to 1; the fullest engine's for all.
        kv_tokens: Tokens that the KV cache holds, added up for all.
        is_asleep: Whether it sleeps, by its own word.
        recent: What happened between the two looks; None where there was one, or a restart lies between.
        whole: What happened since the engine started.
    """

    model: str | None
    engine: str | None
    running: float | None
    waiting: float | None
    deferred: float | None
    kv_usage: float | None
    kv_tokens: int | None
    is_asleep: bool
    recent: Counts | None
    whole: Counts


@dataclass(frozen=True)
class Live:
    """What a server's engines do.

    Attributes:
        total: All of them together.
        parts: Each engine and model, in the page's order.
        started_at: When the server's process started, in Unix seconds; None where it does not tell.
        restart: By what the second page shows that another process wrote it, or None.
    """

    total: EngineLive
    parts: tuple[EngineLive, ...]
    started_at: float | None
    restart: str | None


def build_live(before: Exposition | None, after: Exposition, seconds: float) -> Live:
    """Give what engines do.

    Args:
        before: The page at the last look; None at the first.
        after: The page now.
        seconds: What lies between them.
    """
    restart = find_restart(before, after) if before is not None else None
    first = before if restart is None else None
    starts = [sample.value for sample in after.select("process_start_time_seconds")]
    pairs = dict.fromkeys(
        (sample.labels.get("model_name", ""), sample.labels.get("engine", "")) for sample in after.select(_RUNNING)
    )
    return Live(
        total=_build_engine(first, after, seconds, None, None),
        parts=tuple(_build_engine(first, after, seconds, model, engine) for model, engine in pairs),
        started_at=max(filter(math.isfinite, starts), default=None),
        restart=restart,
    )


def _build_engine(
    before: Exposition | None, after: Exposition, seconds: float, model: str | None, engine: str | None
) -> EngineLive:
    labels = {} if model is None or engine is None else {"model_name": model, "engine": engine}
    usages = [sample.value for sample in after.select("vllm:kv_cache_usage_perc", **labels)]
    return EngineLive(
        model=model,
        engine=engine,
        running=_finite(after.total(_RUNNING, **labels)),
        waiting=_finite(after.total("vllm:num_requests_waiting", **labels)),
        deferred=_finite(after.total("vllm:num_requests_waiting_by_reason", reason="deferred", **labels)),
        kv_usage=max(filter(math.isfinite, usages), default=None),
        kv_tokens=_read_kv_tokens(after, engine),
        is_asleep=after.total("vllm:engine_sleep_state", sleep_state="awake", **labels) == 0,
        recent=_count(before, after, seconds, labels) if before is not None else None,
        whole=_count(_NOTHING, after, None, labels),
    )


def _read_kv_tokens(page: Exposition, engine: str | None) -> int | None:
    # This series has no model_name.
    found = page.select("vllm:cache_config_info", **({} if engine is None else {"engine": engine}))
    sizes = [sample.labels.get("kv_cache_size_tokens", "") for sample in found]
    return sum(map(int, sizes)) if sizes and all(size.isdecimal() for size in sizes) else None


def _count(before: Exposition, after: Exposition, seconds: float | None, labels: Mapping[str, str]) -> Counts:
    def rose(name: str, **more: str) -> float | None:
        return _finite(counter_delta(before, after, name, **labels, **more))

    return Counts(
        seconds=seconds,
        prompt_tokens=rose("vllm:prompt_tokens_total"),
        generation_tokens=rose("vllm:generation_tokens_total"),
        finished=_count_by(before, after, _FINISHED, "finished_reason", labels),
        refused={} if labels else _count_refused(before, after),
        preemptions=rose("vllm:num_preemptions_total"),
        prefix_queries=rose("vllm:prefix_cache_queries_total"),
        prefix_hits=rose("vllm:prefix_cache_hits_total"),
        latencies={
            key: latency
            for key, name in LATENCIES.items()
            if (latency := _build_latency(before, after, name, labels)) is not None
        },
    )


def _count_by(
    before: Exposition, after: Exposition, name: str, label: str, labels: Mapping[str, str]
) -> dict[str, float]:
    found = dict.fromkeys(sample.labels.get(label, "") for sample in after.select(name, **labels))
    return {value: _finite(counter_delta(before, after, name, **labels, **{label: value})) or 0.0 for value in found}


def _count_refused(before: Exposition, after: Exposition) -> dict[str, float]:
    statuses = _count_by(before, after, _HTTP, "status", {})
    refused = {status: count for status, count in sorted(statuses.items()) if status in ("4xx", "5xx")}
    rejected = _finite(counter_delta(before, after, _REJECTED))
    return refused if rejected is None else {**refused, "queue limit": rejected}


def _build_latency(before: Exposition, after: Exposition, name: str, labels: Mapping[str, str]) -> Latency | None:
    events = _finite(counter_delta(before, after, f"{name}_count", **labels))
    if events is None:
        return None
    buckets = build_buckets(before, after, name, **labels)
    found = {share: value for share in SHARES if (value := find_quantile(buckets, share)) is not None}
    return Latency(events, found, find_highest_bound(buckets))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
