"""What one run of `vllm bench serve` measured, from the result that it saves. Pure.

Source: vLLM 0.31.0 and 0.32.0, `vllm/benchmarks/serve.py`: `benchmark` and `main_async` build the result.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

RESULT_MARK = "stack-bench-result:"
"""Before the result, in the client's output."""
LATENCIES = {"ttft": "ttft", "tpot": "tpot", "itl": "itl", "e2e": "e2el"}
_STATISTICS = {"mean": "mean", "p50": "p50", "p95": "p95", "p99": "p99"}
_RATES = {
    "output_tokens_per_second": "output_throughput",
    "total_tokens_per_second": "total_token_throughput",
    "requests_per_second": "request_throughput",
}
_ERROR = re.compile(r"^Error \d+: ", re.MULTILINE)
# What a traceback ends with: the first line that is not indented.
_TRACEBACK = "Traceback (most recent call last):"
_RAISED = re.compile(rf"^{re.escape(_TRACEBACK)}\n(?:[ \t].*\n)*(\S.*)$", re.MULTILINE)
_SHOWN_CHARS = 200


class UnreadableResultError(ValueError):
    """The client gave no result, or not one that can be read."""


@dataclass(frozen=True)
class Measured:
    """What one run measured.

    Attributes:
        completed: Requests that were answered.
        failed: Requests that were not.
        duration_seconds: From the first request to the last answer, warm-ups left out.
        input_tokens: Of all prompts that were answered.
        output_tokens: Of all answers.
        rates: `output_tokens_per_second`, `total_tokens_per_second`, `requests_per_second`, and
            `good_requests_per_second` where bounds were given.
        latencies_seconds: `ttft`, `tpot`, `itl`, `e2e`, each with `mean`, `p50`, `p95`, `p99`.
    """

    completed: int
    failed: int
    duration_seconds: float
    input_tokens: int
    output_tokens: int
    rates: Mapping[str, float]
    latencies_seconds: Mapping[str, Mapping[str, float]]

    @property
    def figures(self) -> dict[str, float]:
        """Give every figure under one name: `ttft_seconds.p95`."""
        flat = {
            f"{name}_seconds.{which}": seconds
            for name, values in self.latencies_seconds.items()
            for which, seconds in values.items()
        }
        return dict(self.rates) | flat


def find_result(output: str) -> Measured:
    """Give the result that stands behind the mark in the client's output.

    Raises:
        UnreadableResultError: There is none, or it is not what vLLM writes.
    """
    _, mark, rest = output.rpartition(RESULT_MARK)
    if not mark:
        raise UnreadableResultError("it wrote no result")
    return parse_result(rest.strip().partition("\n")[0])


def parse_result(text: str) -> Measured:
    """Give what a saved result says.

    Raises:
        UnreadableResultError: It is not what vLLM writes.
    """
    try:
        document = json.loads(text)
        # Every request failed: then there is nothing to take a percentile of, and zeroes would look like speed.
        has_answers = int(document["completed"]) > 0
        return Measured(
            completed=int(document["completed"]),
            failed=int(document["failed"]),
            duration_seconds=float(document["duration"]),
            input_tokens=int(document["total_input_tokens"]),
            output_tokens=int(document["total_output_tokens"]),
            rates=_read_rates(document),
            latencies_seconds=_read_latencies(document) if has_answers else {},
        )
    except (ValueError, KeyError, TypeError) as err:
        raise UnreadableResultError(f"its result cannot be read ({type(err).__name__}: {err})") from err


def find_errors(output: str) -> list[str]:
    """Give why requests failed, each reason once, as the client says it (of the first ten).

    Source: vLLM 0.32.0, `vllm/benchmarks/lib/endpoint_request_func.py`: what is raised is kept as its whole traceback.
    """
    _, *blocks = _ERROR.split(output.partition(RESULT_MARK)[0])
    reasons = (_read_reason(block)[:_SHOWN_CHARS] for block in blocks)
    return list(dict.fromkeys(reason for reason in reasons if reason))


def _read_reason(block: str) -> str:
    raised = _RAISED.findall(block) if block.startswith(_TRACEBACK) else []
    # The last one is what the others led to.
    return str(raised[-1]) if raised else block.partition("\n")[0].strip()


def build_figures(repeats: Sequence[Measured]) -> dict[str, dict[str, Any]]:
    """Give each figure over the repeats: `median`, `least`, `most` and `spread_ratio` (most - least over median)."""
    figures: dict[str, dict[str, Any]] = {}
    for name in repeats[0].figures if repeats else ():
        values = [one.figures[name] for one in repeats if name in one.figures]
        middle, least, most = statistics.median(values), min(values), max(values)
        figures[name] = {
            "median": _round(middle),
            "least": _round(least),
            "most": _round(most),
            "spread_ratio": round((most - least) / middle, 4) if middle else None,
        }
    return figures


def build_repeat_document(measured: Measured) -> dict[str, Any]:
    """Give one run as JSON says it."""
    return {
        "completed": measured.completed,
        "failed": measured.failed,
        "duration_seconds": round(measured.duration_seconds, 3),
        "input_tokens": measured.input_tokens,
        "output_tokens": measured.output_tokens,
        "figures": {name: _round(value) for name, value in measured.figures.items()},
    }


def _read_rates(document: Mapping[str, Any]) -> dict[str, float]:
    rates = {name: float(document[key]) for name, key in _RATES.items()}
    good = document.get("request_goodput")
    return rates if good is None else rates | {"good_requests_per_second": float(good)}


def _read_latencies(document: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    return {
        name: {which: float(document[f"{spelled}_{key}_ms"]) / 1000 for which, spelled in _STATISTICS.items()}
        for name, key in LATENCIES.items()
    }


def _round(value: float) -> float:
    return float(f"{value:.6g}")
