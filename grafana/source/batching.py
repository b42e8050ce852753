"""*KV cache and batching*: how full, why requests wait, and what the prefix cache saves."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from source import batching_extras
from source.board import Board, build_board
from source.layout import Band, Section
from source.panels import GREEN, RED, YELLOW, Look, Panel, Query, build_chart, build_heatmap, build_stat
from source.tables import build_rows

_MODEL = '{model_name=~"$model_name"}'
_NO_TRAFFIC = "No traffic"
_NOT_SCRAPED = "Not scraped"
_WAITING = "model_reason:vllm_num_requests_waiting_by_reason:sum"
_HITS = "model:vllm_prefix_cache_hits"
_CONFIG_LABELS = [
    "instance",
    "engine",
    "kv_cache_max_concurrency",
    "kv_cache_size_tokens",
    "num_gpu_blocks",
    "block_size",
    "cache_dtype",
    "gpu_memory_utilization",
    "enable_prefix_caching",
]

_ABOUT = Board(
    title="KV cache and batching",
    question="Is the engine full, of what, and does it use its cache well?",
    reading=(
        "A full KV cache is not out of memory: the engine takes its memory at start. It means that requests wait, or "
        "are preempted and computed again. First what is full, then what the prefix cache saves, then how large "
        "the batches are."
    ),
)

_LACK = Look(
    title="Waiting for room",
    good="0, or short peaks.",
    otherwise="lasting: raise the KV cache (`gpu-memory-utilization`) or `max-num-seqs`, or send less at once.",
    unit="short",
    no_value=_NOT_SCRAPED,
    steps=((GREEN, None), (YELLOW, 1), (RED, 10)),
    decimals=0,
)
_REJECTED = Look(
    title="Turned away in view",
    good="0.",
    otherwise="the queue's own limit was reached (`max-num-queued-reqs`); clients were told to come later.",
    unit="short",
    no_value="Not of this version",
    steps=((GREEN, None), (RED, 1)),
    decimals=0,
)
_PER_REQUEST = Look(
    title="KV cache per running request",
    good="much less than one over the number of requests that you want at once.",
    otherwise="large: contexts are long; fewer fit at once than you may expect.",
    unit="percentunit",
    no_value="Nothing running",
    decimals=1,
)
_USUAL = Look(
    title="Prefix cache hits over a day",
    good="about what the last 5 minutes have.",
    otherwise="more than lately: what clients send has changed, or the cache is too full to keep it.",
    unit="percentunit",
    no_value=_NO_TRAFFIC,
    decimals=0,
)
_USAGE = Look(
    title="KV cache in use, rank by rank",
    good="below 90 %, all ranks alike.",
    otherwise="one rank full: requests are spread unevenly. All full: see *Why requests wait*.",
    unit="percentunit",
    no_value=_NOT_SCRAPED,
    steps=((GREEN, None), (YELLOW, 0.9), (RED, 0.98)),
)
_CONCURRENCY = Look(
    title="Requests at once",
    good="running below `kv_cache_max_concurrency` in the table: so many of full length fit.",
    otherwise=(
        "running stays at `max-num-seqs` while requests wait and the cache has room: raise that. "
        "Above the table's number is right too, as long as contexts are shorter than the longest."
    ),
    unit="short",
    no_value=_NOT_SCRAPED,
    decimals=0,
)
_REASONS = Look(
    title="Why requests wait",
    good="nothing waits for long.",
    otherwise=(
        "`capacity`: no room in the batch or the KV cache. "
        "`deferred`: something else is not ready, such as an adapter or a transfer."
    ),
    unit="short",
    no_value=_NOT_SCRAPED,
    decimals=0,
)
_PREEMPTIONS = Look(
    title="Preemptions per second",
    good="0.",
    otherwise="above 0.05 the engine computes again what it threw away: fewer at once, or more KV cache.",
    unit="cps",
    no_value=_NOT_SCRAPED,
    steps=((GREEN, None), (YELLOW, 0.01), (RED, 0.05)),
)
_REJECTIONS = Look(
    title="Requests turned away per second",
    good="0.",
    otherwise="clients send more than the queue may hold; they should wait, or the limits be raised.",
    unit="cps",
    no_value="Not of this version",
)
_SIZES = Look(
    title="Size and settings of the KV cache",
    good="`kv_cache_max_concurrency` is at least the requests of full length that you want at once.",
    otherwise="lower `max-model-len`, raise `gpu-memory-utilization`, or take a smaller `kv-cache-dtype`.",
    unit="string",
    no_value=_NOT_SCRAPED,
)
_RATIO = Look(
    title="Prefix cache hits: now, over an hour, over a day",
    good="high where prompts begin alike, and steady.",
    otherwise="a fall: prompts begin with what varies (a time, an ID), or the cache is too full to keep them.",
    unit="percentunit",
    no_value=_NO_TRAFFIC,
)
_SOURCES = Look(
    title="Where prompt tokens come from",
    good="much `local_cache_hit` with chats and agents.",
    otherwise="nearly all `local_compute`: every prompt is read anew; see the hits beside.",
    unit="suffix: tok/s",
    no_value=_NOT_SCRAPED,
)
_ITERATIONS = Look(
    title="Tokens of one engine step",
    good="two bands: one token for each running request (decode), and large steps now and then (prefill).",
    otherwise="only small steps under load: the batch stays small; see *Why requests wait*.",
    unit="suffix: tokens",
    no_value=_NOT_SCRAPED,
)
_MEAN_STEP = Look(
    title="Mean step, and steps per second",
    good="larger steps as more requests run; their number falls slowly.",
    otherwise="steps get seldom but not larger: the host is slow between them; *Host and stack* shows its CPU.",
    unit="short",
    no_value=_NO_TRAFFIC,
)


def build_dashboard(uid: str) -> dashboard.Dashboard:
    """Give the dashboard."""
    sections = [
        Section("What is full", [Band(4, _build_tiles()), Band(8, _build_room()), Band(7, _build_overflow())]),
        Section("How large it is", [Band(5, [(24, _build_sizes())])]),
        Section("What the prefix cache saves", [Band(8, _build_savings())]),
        Section("How large the batches are", [Band(8, _build_steps())]),
        *batching_extras.build_sections(),
    ]
    return build_board(uid, _ABOUT, sections)


def _build_tiles() -> list[tuple[int, Panel]]:
    lack = f'{_WAITING}{{model_name=~"$model_name", reason="capacity"}}'
    rejected = f"sum by (model_name) (increase(vllm:admission_rejections_total{_MODEL}[$__range]))"
    each = f"model:vllm_kv_cache_usage_ratio:max{_MODEL} / (model:vllm_num_requests_running:sum{_MODEL} > 0)"
    tiles = ((_LACK, lack), (_REJECTED, rejected), (_PER_REQUEST, each), (_USUAL, f"{_HITS}:ratio_rate1d{_MODEL}"))
    return [(6, build_stat(look, Query(expr, "{{model_name}}"))) for look, expr in tiles]


def _build_room() -> list[tuple[int, Panel]]:
    usage = Query(
        f"max by (instance, engine, model_name) (vllm:kv_cache_usage_perc{_MODEL})", "{{instance}} {{engine}}"
    )
    running = Query(f"model:vllm_num_requests_running:sum{_MODEL}", "running {{model_name}}")
    reasons = Query(f"{_WAITING}{_MODEL}", "{{reason}} {{model_name}}")
    return [
        (8, build_chart(_USAGE, usage, highest=1)),
        (8, build_chart(_CONCURRENCY, running)),
        (8, build_chart(_REASONS, reasons, stacked=True)),
    ]


def _build_overflow() -> list[tuple[int, Panel]]:
    preemptions = Query(f"model:vllm_num_preemptions:rate5m{_MODEL}", "{{model_name}}")
    rejections = f"sum by (reason) (rate(vllm:admission_rejections_total{_MODEL}[$__rate_interval]))"
    return [
        (12, build_chart(_PREEMPTIONS, preemptions)),
        (12, build_chart(_REJECTIONS, Query(rejections, "{{reason}}"))),
    ]


def _build_sizes() -> Panel:
    # Its labels have no model; the values that matter are labels, which PromQL cannot count with.
    by = ", ".join(_CONFIG_LABELS)
    sizes = Query(f"max by ({by}) (vllm:cache_config_info)", "{{instance}} {{engine}}")
    return build_rows(_SIZES, sizes, _CONFIG_LABELS)


def _build_savings() -> list[tuple[int, Panel]]:
    ratios = [
        Query(f"{_HITS}:ratio_rate{window}{_MODEL}", f"{window} {{{{model_name}}}}") for window in ("5m", "1h", "1d")
    ]
    sources = f"sum by (source) (rate(vllm:prompt_tokens_by_source_total{_MODEL}[$__rate_interval]))"
    return [
        (12, build_chart(_RATIO, *ratios, highest=1)),
        (12, build_chart(_SOURCES, Query(sources, "{{source}}"), stacked=True)),
    ]


def _build_steps() -> list[tuple[int, Panel]]:
    buckets = f"sum by (le) (increase(vllm:iteration_tokens_total_bucket{_MODEL}[$__rate_interval]))"
    steps = f"sum by (model_name) (rate(vllm:iteration_tokens_total_count{_MODEL}[$__rate_interval])) > 0"
    tokens = f"sum by (model_name) (rate(vllm:iteration_tokens_total_sum{_MODEL}[$__rate_interval]))"
    return [
        (12, build_heatmap(_ITERATIONS, Query(buckets, "{{le}}"))),
        (
            12,
            build_chart(
                _MEAN_STEP,
                Query(f"{tokens} / ({steps})", "tokens a step {{model_name}}"),
                Query(steps, "steps a second {{model_name}}"),
            ),
        ),
    ]
