"""Two looks at one engine's page: whether they can be compared, and a window for each model and rank."""

from __future__ import annotations

from collections.abc import Iterator

from stack.telemetry.diagnosis.surroundings import Surroundings
from stack.telemetry.diagnosis.window import Window
from stack.telemetry.exposition import Exposition

NEEDED = (
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
    "vllm:kv_cache_usage_perc",
    "vllm:num_preemptions_total",
    "vllm:generation_tokens_total",
    "vllm:prompt_tokens_total",
    "vllm:time_to_first_token_seconds_sum",
    "vllm:inter_token_latency_seconds_sum",
    "vllm:e2e_request_latency_seconds_count",
    "vllm:request_queue_time_seconds_sum",
)
"""Without these series nothing can be told. Source: vLLM 0.32, vllm/v1/metrics/loggers.py."""

_START_MOVED_SECONDS = 0.5


def build_windows(
    before: Exposition, after: Exposition, seconds: float, around: Surroundings | None = None
) -> list[Window]:
    """Give a window for each model and rank on the second page, in the page's order."""
    labels = [sample.labels for sample in after.select("vllm:num_requests_running")]
    found = dict.fromkeys((one.get("model_name", ""), one.get("engine", "")) for one in labels)
    around = around or Surroundings()
    return [Window(model, engine, before, after, seconds, around) for model, engine in found]


def find_restart(before: Exposition, after: Exposition) -> str | None:
    """Tell by what the second page shows that another process wrote it, or None: the first page then says nothing."""
    for name in ("process_start_time_seconds", "vllm:generation_tokens_created"):
        starts = [[sample.value for sample in page.select(name)] for page in (before, after)]
        if all(starts) and abs(max(starts[1]) - max(starts[0])) > _START_MOVED_SECONDS:
            return f"`{name}` is another at the second look"
    for name in _list_counters(before):
        for sample in before.select(name):
            later = after.total(name, **sample.labels)
            if later is not None and later < sample.value:
                return f"`{name}` fell from {sample.value:g} to {later:g}"
    return None


def _list_counters(page: Exposition) -> Iterator[str]:
    return (name for name in NEEDED if name in page.names and name.endswith(("_total", "_sum", "_count")))


def find_missing(before: Exposition, after: Exposition) -> str | None:
    """Tell which series the rules need and a page lacks, or None."""
    lacking = [name for name in NEEDED if name not in before.names or name not in after.names]
    if not lacking:
        return None
    if len(lacking) == len(NEEDED):
        return "the page has none of vLLM's metrics: another service, or an engine with `--disable-log-stats`"
    return f"the page lacks {', '.join(f'`{name}`' for name in lacking)}: another version of vLLM"
