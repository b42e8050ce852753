"""*Requests*: how they end, how long they are, and what they spend their time with."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from source.board import Board, build_board
from source.layout import Band, Section
from source.panels import GREEN, RED, YELLOW, Look, Panel, Query, build_chart, build_heatmap, build_stat

_MODEL = '{model_name=~"$model_name"}'
_NO_TRAFFIC = "No traffic"
_PHASES = ("queue", "prefill", "decode")
_ENDED = "model_finished_reason:vllm_request_success"

_ABOUT = Board(
    title="Requests",
    question="What do clients ask for, how do requests end, and where does their time go?",
    reading=(
        "First the ends: `stop` and `length` are answers, all else is not. Then how long prompts and answers are, "
        "which explains most of the time. Then the time itself: in the queue, in prefill (reading the prompt), in "
        "decode (writing the answer)."
    ),
)

_ENDS = Look(
    title="Ends of requests",
    good="`stop` and `length` only.",
    otherwise=(
        "`abort`: clients hang up, often on a timeout. `error`: `stack logs engine`. "
        "`repetition`: the model went round in circles and was stopped."
    ),
    unit="reqps",
    no_value="Not scraped",
)
_HTTP = Look(
    title="HTTP answers by status",
    good="2xx only.",
    otherwise=(
        "4xx: clients ask for what there is not (a wrong model name, too long a prompt, a wrong key). "
        "5xx: the server failed; `stack logs engine`."
    ),
    unit="reqps",
    no_value="No request yet",
)
_ENDED_IN_VIEW = Look(
    title="Requests in view",
    good="what your clients sent in this time.",
    otherwise="fewer: they do not reach the engine; `stack status` has its address.",
    unit="short",
    no_value="Not scraped",
    decimals=0,
)
_BAD_SHARES = (
    ("error", "Failed", (0.001, 0.05), "0 %.", "the engine failed: `stack logs engine`, or `stack explain`."),
    (
        "abort",
        "Given up by clients",
        (0.05, 0.2),
        "below 5 %.",
        "clients do not wait so long: compare their timeout with *E2E latency* in the overview.",
    ),
    (
        "length",
        "Cut off at their limit",
        (0.5, 0.9),
        "what you expect: these reached `max_tokens` or the model's context.",
        "answers end in the middle: raise `max_tokens` in the clients, or `max-model-len`.",
    ),
)
_PROMPTS = Look(
    title="Prompt lengths",
    good="one or a few bands: the kinds of request that you know.",
    otherwise="a new band at the top: somebody sends long prompts, which hold up everybody's tokens.",
    unit="suffix: tokens",
    no_value="Not scraped",
)
_ANSWERS = Look(
    title="Answer lengths",
    good="below what clients allow with `max_tokens`.",
    otherwise="a band at the limit: answers are cut off; see *Cut off at their limit*.",
    unit="suffix: tokens",
    no_value="Not scraped",
)
_DURATIONS = Look(
    title="Time of whole requests",
    good="bands as wide as those of the answers' lengths.",
    otherwise="wider than the lengths explain: requests wait, or are preempted.",
    unit="s",
    no_value="Not scraped",
)
_SHARES = Look(
    title="What requests spend their time with",
    good="nearly all of it in decode.",
    otherwise="queue: more comes in than fits. Prefill: long prompts, or few prefix cache hits.",
    unit="percentunit",
    no_value=_NO_TRAFFIC,
)
_TAILS = Look(
    title="Slow phases (p95 of requests)",
    good="queue and prefill at or below 0.3 s, which is the histograms' first bound.",
    otherwise="queue: *KV cache and batching* says what is full. Prefill: shorter prompts, or chunked prefill.",
    unit="s",
    no_value=_NO_TRAFFIC,
    steps=((GREEN, None), (YELLOW, 30), (RED, 120)),
)
_PER_TOKEN = Look(
    title="Time per token: a request's mean (TPOT) and each gap (ITL)",
    good="TPOT and ITL close to one another, below 0.1 s.",
    otherwise=(
        "ITL p95 far above TPOT: single long gaps, made by other requests' prefill or by preemption. "
        "Both high: too many requests at once, or a slow device."
    ),
    unit="s",
    no_value=_NO_TRAFFIC,
    steps=((GREEN, None), (YELLOW, 0.1), (RED, 0.25)),
)
_TOOLS = Look(
    title="Tool calls by outcome",
    good="parsed calls only.",
    otherwise="others: the model writes calls that `tool-call-parser` does not read; take the one made for the model.",
    unit="cps",
    no_value="No tool call parser",
)


def build_dashboard(uid: str) -> dashboard.Dashboard:
    """Give the dashboard."""
    tools = f"sum by (mode, outcome) (rate(vllm:tool_call_parser_invocations_total{_MODEL}[$__rate_interval]))"
    sections = [
        Section("How requests end", [Band(4, _build_tiles()), Band(8, _build_ends())]),
        Section("How long they are", [Band(9, _build_lengths())]),
        Section("Where their time goes", [Band(8, _build_times()), Band(8, _build_tokens())]),
        Section(
            "Only with `tool-call-parser`: tool calls",
            [Band(7, [(24, build_chart(_TOOLS, Query(tools, "{{mode}} {{outcome}}"), stacked=True))])],
            is_conditional=True,
        ),
    ]
    return build_board(uid, _ABOUT, sections)


def _build_tiles() -> list[tuple[int, Panel]]:
    ended = f"sum by (model_name) (increase(vllm:request_success_total{_MODEL}[$__range]))"
    return [
        (6, build_stat(_ENDED_IN_VIEW, Query(ended, "{{model_name}}"))),
        *((6, _build_share(*row)) for row in _BAD_SHARES),
    ]


def _build_share(reason: str, title: str, steps: tuple[float, float], good: str, otherwise: str) -> Panel:
    look = Look(
        title=title,
        good=f"{good} Of the requests of the last 10 minutes.",
        otherwise=otherwise,
        unit="percentunit",
        no_value=_NO_TRAFFIC,
        steps=((GREEN, None), (YELLOW, steps[0]), (RED, steps[1])),
        decimals=1,
    )
    of = f'{{model_name=~"$model_name", finished_reason="{reason}"}}'
    share = f"sum by (model_name) ({_ENDED}:increase10m{of}) / (sum by (model_name) ({_ENDED}:increase10m{_MODEL}) > 0)"
    return build_stat(look, Query(share, "{{model_name}}"))


def _build_ends() -> list[tuple[int, Panel]]:
    ends = Query(f"sum by (finished_reason) ({_ENDED}:rate1m{_MODEL})", "{{finished_reason}}")
    statuses = 'sum by (status) (rate(http_requests_total{job="vllm"}[$__rate_interval]))'
    return [
        (12, build_chart(_ENDS, ends, stacked=True)),
        (12, build_chart(_HTTP, Query(statuses, "{{status}}"), stacked=True)),
    ]


def _build_lengths() -> list[tuple[int, Panel]]:
    looks = (
        (_PROMPTS, "request_prompt_tokens"),
        (_ANSWERS, "request_generation_tokens"),
        (_DURATIONS, "e2e_request_latency_seconds"),
    )
    return [
        (
            8,
            build_heatmap(
                look, Query(f"sum by (le) (increase(vllm:{name}_bucket{_MODEL}[$__rate_interval]))", "{{le}}")
            ),
        )
        for look, name in looks
    ]


def _build_times() -> list[tuple[int, Panel]]:
    whole = f"sum by (model_name) (rate(vllm:e2e_request_latency_seconds_sum{_MODEL}[$__rate_interval]))"
    shares = [
        Query(
            f"sum by (model_name) (rate(vllm:request_{phase}_time_seconds_sum{_MODEL}[$__rate_interval])) "
            f"/ ({whole} > 0)",
            f"{phase} {{{{model_name}}}}",
        )
        for phase in _PHASES
    ]
    tails = [
        Query(
            "histogram_quantile(0.95, sum by (model_name, le) "
            f"(rate(vllm:request_{phase}_time_seconds_bucket{_MODEL}[$__rate_interval]))) >= 0",
            f"{phase} {{{{model_name}}}}",
        )
        for phase in _PHASES
    ]
    return [(12, build_chart(_SHARES, *shares, stacked=True, highest=1)), (12, build_chart(_TAILS, *tails))]


def _build_tokens() -> list[tuple[int, Panel]]:
    lines = [
        Query(f"model:vllm_{metric}:p{percent}_rate5m{_MODEL}", f"{name} p{percent} {{{{model_name}}}}")
        for metric, name in (
            ("request_time_per_output_token_seconds", "TPOT"),
            ("inter_token_latency_seconds", "ITL"),
        )
        for percent in (50, 95)
    ]
    return [(24, build_chart(_PER_TOKEN, *lines))]
