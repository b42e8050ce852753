"""Pages of an engine, built from a recorded one by changing samples."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from stack.telemetry.diagnosis.diagnose import Diagnosis, diagnose
from stack.telemetry.diagnosis.surroundings import Surroundings
from stack.telemetry.exposition import Exposition, Sample, parse_exposition

METRICS = Path(__file__).parents[3] / "fixtures" / "metrics"
BASE = parse_exposition((METRICS / "vllm-0.32.0.txt").read_text())

RUNNING = "vllm:num_requests_running"
WAITING = 'vllm:num_requests_waiting_by_reason{reason="capacity"}'
DEFERRED = 'vllm:num_requests_waiting_by_reason{reason="deferred"}'
KV = "vllm:kv_cache_usage_perc"
MADE = "vllm:generation_tokens_total"
READ = "vllm:prompt_tokens_total"
COMPUTED = 'vllm:prompt_tokens_by_source_total{source="local_compute"}'
ENDED = "vllm:e2e_request_latency_seconds_count"
TTFT = "vllm:time_to_first_token_seconds_sum"
ITL = "vllm:inter_token_latency_seconds_sum"
QUEUED = "vllm:request_queue_time_seconds_sum"
PREFILL = "vllm:request_prefill_time_seconds_sum"
PREEMPTED = "vllm:num_preemptions_total"
REJECTED = 'vllm:admission_rejections_total{reason="max_num_queued_reqs"}'
SERVER_CPU = "process_cpu_seconds_total"
FIRST_TOKENS = "vllm:time_to_first_token_seconds_count"

SECONDS = 20.0

# What rose within 20 s: 12 answers under way all the time, of which 24 ended.
DECODE = {
    MADE: 3000,
    ITL: 239,
    ENDED: 24,
    READ: 480,
    COMPUTED: 480,
    TTFT: 1,
    PREFILL: 1,
    FIRST_TOKENS: 24,
}
# 4 prompts of 1000 tokens at a time, one token each.
READING = {MADE: 40, ENDED: 40, READ: 40000, COMPUTED: 40000, TTFT: 80, PREFILL: 80, FIRST_TOKENS: 40}
# 8 clients on 2 places: of the time to the first token nearly all is waiting.
QUEUE = {
    MADE: 800, ITL: 39, ENDED: 20, READ: 400, COMPUTED: 400, TTFT: 121, PREFILL: 1, QUEUED: 120, FIRST_TOKENS: 20,
}  # fmt: skip
# One client that pauses.
FEW = {MADE: 80, ITL: 5, ENDED: 10, READ: 200, COMPUTED: 200, TTFT: 1, PREFILL: 1, FIRST_TOKENS: 10}


def build_page(base: Exposition, values: Mapping[str, float], *, adds: bool = False) -> Exposition:
    """Give a page with other values; a key is a name, or a name with some of its labels."""
    samples = list(base.samples)
    for key, value in values.items():
        name, _, rest = key.partition("{")
        labels = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        found = [index for index, one in enumerate(samples) if one.name == name and one.has(labels)]
        assert found, f"the recorded page has no {key}"
        for index in found:
            samples[index] = replace(samples[index], value=value + (samples[index].value if adds else 0))
    return Exposition(tuple(samples), base.types)


def drop(page: Exposition, *names: str) -> Exposition:
    """Give a page without some series."""
    return Exposition(tuple(one for one in page.samples if one.name not in names), page.types)


def relabel(page: Exposition, **labels: str) -> tuple[Sample, ...]:
    """Give a page's samples as another engine or model has them."""
    return tuple(
        replace(one, labels={**one.labels, **{key: labels[key] for key in labels if key in one.labels}})
        for one in page.samples
    )


def look_twice(
    rose: Mapping[str, float],
    both: Mapping[str, float] | None = None,
    *,
    first: Mapping[str, float] | None = None,
    second: Mapping[str, float] | None = None,
    seconds: float = SECONDS,
    around: Surroundings | None = None,
) -> Diagnosis:
    """Diagnose two pages.

    Args:
        rose: By how much counters rose between them.
        both: Gauges on both, and what counters stood at before.
        first: Gauges on the first alone.
        second: Gauges on the second alone.
        seconds: What lies between them.
        around: What else is known.
    """
    before = build_page(BASE, {**(both or {}), **(first or {})})
    after = build_page(build_page(BASE, {**(both or {}), **(second or {})}), rose, adds=True)
    (found,) = diagnose(before, after, seconds, around)
    return found


def names(found: Diagnosis) -> list[str]:
    """Give the limits' names, the main one first."""
    return [limit.name for limit in found.limits]
