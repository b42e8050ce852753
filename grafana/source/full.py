"""*How full*: requests running and waiting, the KV cache, and what it does when it is full."""

from __future__ import annotations

from source.layout import Band, Section
from source.panels import GREEN, RED, YELLOW, Look, Panel, Query, build_chart, build_stat

_MODEL = '{model_name=~"$model_name"}'
_NO_TRAFFIC = "No traffic"
_KV_STEPS = ((GREEN, None), (YELLOW, 0.9), (RED, 0.98))

_RUNNING = Look(
    title="Running",
    good="what the clients have sent; the engine answers all of these at the same time.",
    otherwise="0 while clients wait: `stack logs engine`.",
    unit="short",
    no_value="Not scraped",
    decimals=0,
)
_WAITING = Look(
    title="Waiting",
    good="0.",
    otherwise=(
        "short peaks are normal. Lasting: the KV cache or `max-num-seqs` is the limit; "
        "fewer clients, shorter contexts, or more memory for the KV cache."
    ),
    unit="short",
    no_value="Not scraped",
    steps=((GREEN, None), (YELLOW, 1), (RED, 10)),
    decimals=0,
)
_KV = Look(
    title="KV cache",
    good="below 90 %.",
    otherwise="full is not out of memory: requests wait, or are preempted and computed again later.",
    unit="percentunit",
    no_value="Not scraped",
    steps=_KV_STEPS,
    decimals=1,
)
_QUEUE = Look(
    title="Time in the queue (mean)",
    good="close to 0.",
    otherwise="users wait this long before anything happens; see *Waiting*.",
    unit="s",
    no_value=_NO_TRAFFIC,
    steps=((GREEN, None), (YELLOW, 1), (RED, 5)),
)
_PREFIX = Look(
    title="Prefix cache hits",
    good="high where prompts begin alike (a system prompt, a chat's history).",
    otherwise="low with chats: the KV cache cannot keep their history, or prompts begin with what varies.",
    unit="percentunit",
    no_value=_NO_TRAFFIC,
    decimals=0,
)
_PREEMPTIONS = Look(
    title="Preemptions in view",
    good="0.",
    otherwise=(
        "the KV cache ran full and requests were computed again: "
        "raise `gpu-memory-utilization`, or lower `max-num-seqs`."
    ),
    unit="short",
    no_value="Not scraped",
    steps=((GREEN, None), (YELLOW, 1), (RED, 100)),
    decimals=0,
)
_REQUESTS = Look(
    title="Requests running and waiting",
    good="running follows the load, waiting stays at 0.",
    otherwise="waiting that does not fall: more comes in than the engine can serve.",
    unit="short",
    no_value="Not scraped",
    decimals=0,
)
_KV_CHART = Look(
    title="KV cache in use",
    good="below 90 %.",
    otherwise="lasting peaks at 100 % together with waiting requests: shorter contexts, or more KV cache.",
    unit="percentunit",
    no_value="Not scraped",
    steps=_KV_STEPS,
)


def build_section() -> Section:
    """Give the section."""
    return Section("How full", [Band(4, _build_tiles()), Band(7, _build_charts())])


def _build_tiles() -> list[tuple[int, Panel]]:
    preemptions = f"sum by (model_name) (increase(vllm:num_preemptions_total{_MODEL}[$__range]))"
    tiles = (
        (_RUNNING, f"model:vllm_num_requests_running:sum{_MODEL}"),
        (_WAITING, f"model:vllm_num_requests_waiting:sum{_MODEL}"),
        (_KV, f"model:vllm_kv_cache_usage_ratio:max{_MODEL}"),
        (_QUEUE, f"model:vllm_request_queue_time_seconds:mean_rate5m{_MODEL}"),
        (_PREFIX, f"model:vllm_prefix_cache_hits:ratio_rate5m{_MODEL}"),
        (_PREEMPTIONS, preemptions),
    )
    return [(4, build_stat(look, Query(expr, "{{model_name}}"))) for look, expr in tiles]


def _build_charts() -> list[tuple[int, Panel]]:
    requests = [
        Query(f"model:vllm_num_requests_{state}:sum{_MODEL}", f"{state} {{{{model_name}}}}")
        for state in ("running", "waiting")
    ]
    usage = Query(f"model:vllm_kv_cache_usage_ratio:max{_MODEL}", "{{model_name}}")
    return [(12, build_chart(_REQUESTS, *requests)), (12, build_chart(_KV_CHART, usage, highest=1))]
