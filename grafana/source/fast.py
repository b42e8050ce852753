"""*How fast*: latency as the user feels it, throughput, and where the time goes."""

from __future__ import annotations

from collections.abc import Sequence

from source.layout import Band, Section
from source.panels import GREEN, RED, YELLOW, Look, Panel, Query, build_chart, build_stat

_MODEL = '{model_name=~"$model_name"}'
_TOKENS = "suffix: tok/s"
_NO_TRAFFIC = "No traffic"

# (metric, name, what it is, what good looks like, what to do, thresholds in seconds)
_LATENCIES = (
    (
        "time_to_first_token_seconds",
        "TTFT",
        "time to first token",
        "under 1 s, which feels immediate.",
        "look at *Waiting* below: requests there mean too much load; none, long prompts or a cold cache.",
        (1.0, 3.0),
    ),
    (
        "inter_token_latency_seconds",
        "ITL",
        "time between two tokens",
        "under 0.1 s, faster than one reads.",
        "fewer requests at a time, a smaller model, or a GPU; long prompts of others also hold tokens up.",
        (0.1, 0.25),
    ),
    (
        "e2e_request_latency_seconds",
        "E2E latency",
        "time of a whole request",
        "TTFT plus ITL times the tokens asked for.",
        "compare with *Where the time goes*: a long queue is load, a long decode is long answers.",
        (30.0, 120.0),
    ),
)

_GENERATION = Look(
    title="Generated",
    good="rises with the number of running requests, because the engine batches them.",
    otherwise="falling while requests wait: look at preemptions and the KV cache.",
    unit=_TOKENS,
    no_value="Not scraped",
    decimals=1,
)
_PROMPT = Look(
    title="Prompts read",
    good="short peaks: prompts are read many tokens at a time.",
    otherwise="steady and high: long prompts take the engine's time; see the prefix cache.",
    unit=_TOKENS,
    no_value="Not scraped",
    decimals=1,
)
_FINISHED = Look(
    title="Requests finished",
    good="equal to what the clients send.",
    otherwise="lower: requests wait or are aborted; see the queue and *Requests by outcome*.",
    unit="reqps",
    no_value="Not scraped",
    decimals=2,
)
_THROUGHPUT = Look(
    title="Throughput",
    good="generated tokens rise with load until the engine is full.",
    otherwise="flat at a low value with requests waiting: the KV cache or the device is the limit.",
    unit=_TOKENS,
    no_value="Not scraped",
)
_OUTCOMES = Look(
    title="Requests by outcome",
    good="`stop` and `length` only.",
    otherwise="`abort`: clients hang up, often on a timeout. `error` or `repetition`: `stack logs engine`.",
    unit="reqps",
    no_value="Not scraped",
)
_TIME = Look(
    title="Where the time goes (mean of a request)",
    good="nearly all of it in decode.",
    otherwise="queue: too much load for the KV cache. Prefill: long prompts, or few prefix cache hits.",
    unit="s",
    no_value=_NO_TRAFFIC,
)


def build_section() -> Section:
    """Give the section."""
    return Section("How fast", [Band(4, _build_tiles()), Band(8, _build_latencies()), Band(8, _build_charts())])


def _build_tiles() -> list[tuple[int, Panel]]:
    finished = f"sum by (model_name) (model_finished_reason:vllm_request_success:rate1m{_MODEL})"
    return [
        *((4, build_stat(_latency_look(row, tile=True), *_quantiles(row[0], 95))) for row in _LATENCIES),
        (4, build_stat(_GENERATION, Query(f"model:vllm_generation_tokens:rate1m{_MODEL}", "{{model_name}}"))),
        (4, build_stat(_PROMPT, Query(f"model:vllm_prompt_tokens:rate1m{_MODEL}", "{{model_name}}"))),
        (4, build_stat(_FINISHED, Query(finished, "{{model_name}}"))),
    ]


def _build_latencies() -> list[tuple[int, Panel]]:
    return [(8, build_chart(_latency_look(row), *_quantiles(row[0], 50, 95, 99))) for row in _LATENCIES]


def _build_charts() -> list[tuple[int, Panel]]:
    throughput = [
        Query(
            f"sum by (model_name) (rate(vllm:{kind}_tokens_total{_MODEL}[$__rate_interval]))",
            f"{word} {{{{model_name}}}}",
        )
        for kind, word in (("generation", "generated"), ("prompt", "prompt"))
    ]
    outcomes = f"sum by (finished_reason) (rate(vllm:request_success_total{_MODEL}[$__rate_interval]))"
    times = [
        Query(f"model:vllm_request_{phase}_time_seconds:mean_rate5m{_MODEL}", f"{phase} {{{{model_name}}}}")
        for phase in ("queue", "prefill", "decode")
    ]
    return [
        (8, build_chart(_THROUGHPUT, *throughput)),
        (8, build_chart(_OUTCOMES, Query(outcomes, "{{finished_reason}}"), stacked=True)),
        (8, build_chart(_TIME, *times, stacked=True)),
    ]


def _quantiles(metric: str, *percents: int) -> list[Query]:
    return [
        Query(f"model:vllm_{metric}:p{percent}_rate5m{_MODEL}", f"p{percent} {{{{model_name}}}}")
        for percent in percents
    ]


def _latency_look(row: Sequence, *, tile: bool = False) -> Look:
    _, name, meaning, good, otherwise, (slow, too_slow) = row
    return Look(
        title=f"{name} p95" if tile else f"{name} ({meaning})",
        good=f"{good} Over the last 5 minutes.",
        otherwise=otherwise,
        unit="s",
        no_value=_NO_TRAFFIC,
        steps=((GREEN, None), (YELLOW, slow), (RED, too_slow)),
    )
