"""PromQL of the objectives: the share of requests, or of tokens, that did not meet one, over a window. Pure."""

from __future__ import annotations

from dataclasses import dataclass

_REQUESTS = "vllm:e2e_request_latency_seconds_count"


@dataclass(frozen=True)
class LatencyObjective:
    """A bound and the share that must keep it.

    Attributes:
        name: `ttft`, `itl` or `e2e`.
        seconds: The bound, one of the histogram's.
        target: The share that must be as fast, below 1.
    """

    name: str
    seconds: float
    target: float


@dataclass(frozen=True)
class Histogram:
    """Where a latency is read.

    Attributes:
        metric: The histogram's name.
        counted: The counter of requests behind it: tokens say nothing of how many asked.
        words: What it is called in alerts.
        things: What is counted.
    """

    metric: str
    counted: str
    words: str
    things: str


HISTOGRAMS = {
    "ttft": Histogram("vllm:time_to_first_token_seconds", "vllm:time_to_first_token_seconds_count", "TTFT", "requests"),
    "itl": Histogram("vllm:inter_token_latency_seconds", _REQUESTS, "ITL", "tokens"),
    "e2e": Histogram("vllm:e2e_request_latency_seconds", _REQUESTS, "E2E latency", "requests"),
}


def build_slow_share(objective: LatencyObjective, window: str) -> str:
    """Give the share that took longer than the bound."""
    metric = HISTOGRAMS[objective.name].metric
    fast = f'sum by (model_name) (rate({metric}_bucket{{le="{float(objective.seconds)}"}}[{window}]))'
    all_of_them = f"sum by (model_name) (rate({metric}_count[{window}])) > 0"
    # Rounding may give a little less than nothing; NaN is not recorded.
    return f"clamp_min(1 - {fast} / ({all_of_them}), 0) >= 0"


def build_request_count(objective: LatencyObjective, window: str) -> str:
    """Give the requests behind a latency, whatever it counts itself."""
    return f"sum by (model_name) (increase({HISTOGRAMS[objective.name].counted}[{window}])) >= 0"


def build_failed_share(window: str) -> str:
    """Give the share of what was answered that ended with an error of ours."""
    errors = _finished("rate", 'finished_reason="error"', window)
    failed = f"sum by (model_name) ({errors} or {_refused('rate', window)})"
    return f"{failed} / ({build_answered('rate', window)} > 0) >= 0"


def build_answered(function: str, window: str) -> str:
    """Give what was answered, well or not: what clients gave up says nothing of us."""
    finished = _finished(function, 'finished_reason!="abort"', window)
    return f"sum by (model_name) ({finished} or {_refused(function, window)})"


def _finished(function: str, matcher: str, window: str) -> str:
    return f"{function}(vllm:request_success_total{{{matcher}}}[{window}])"


def _refused(function: str, window: str) -> str:
    """Give answers with status 5xx, which the scheduler may know nothing of, under the model of their engine.

    A request that fails before its first byte is counted here and as finished with an error: twice, above and below.
    """
    answers = f'sum by (job, instance) ({function}(http_requests_total{{job="vllm", status="5xx"}}[{window}]))'
    return f"{answers} * on (job, instance) group_right () job_instance_model:vllm_engine:present1h"


def build_presence() -> str:
    """Give the models that the engines served within the last hour, for answers that no model is told of."""
    return "group by (job, instance, model_name) (last_over_time(vllm:num_requests_running[1h]))"
