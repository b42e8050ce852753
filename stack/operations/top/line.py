"""One frame of `stack top` as one line, for a pipe or a log. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from stack.operations.top.rows import describe_trouble
from stack.operations.top.run import Frame
from stack.operations.top.words import describe_number, describe_percent, describe_quantile, describe_rate, join_lines
from stack.telemetry.live import Counts, Live

_LATENCIES = (("TTFT", "ttft"), ("ITL", "itl"), ("E2E", "e2e"))


def render_line(frame: Frame) -> str:
    """Give a frame as one line of `name value` pairs, always the same ones in the same order."""
    trouble = describe_trouble(frame)
    told = [] if trouble is None else [trouble.text]
    if frame.live is not None and frame.live.total.running is not None:
        told += _list_live(frame.live)
    told += [_describe_gpu(gpu.index, gpu.utilization) for gpu in frame.gpus]
    told.append(_describe_alerts(frame))
    return f"{frame.at:%Y-%m-%dT%H:%M:%SZ}  " + join_lines("  ".join(filter(None, told)))


def _list_live(live: Live) -> Iterator[str]:
    total, recent = live.total, live.total.recent
    yield f"running {describe_number(total.running)}"
    yield f"waiting {describe_number(total.waiting)}"
    yield f"KV {describe_percent(total.kv_usage)}"
    yield f"prompt {_rate(recent, recent.prompt_tokens if recent else None)} tokens/s"
    yield f"generated {_rate(recent, recent.generation_tokens if recent else None)} tokens/s"
    yield f"ended {_rate(recent, recent.requests if recent else None)}/s"
    yield f"preempted {_rate(recent, recent.preemptions if recent else None)}/s"
    yield f"prefix hits {describe_percent(recent.hit_ratio if recent else None)}"
    for name, key in _LATENCIES:
        latency = recent.latencies.get(key) if recent else None
        yield f"{name} p50 {describe_quantile(latency, 0.5)} p95 {describe_quantile(latency, 0.95)}"


def _rate(counts: Counts | None, count: float | None) -> str:
    return describe_rate(counts.per_second(count) if counts is not None else None)


def _describe_gpu(index: int, utilization: float | None) -> str:
    return f"GPU {index} {describe_percent(utilization)}"


def _describe_alerts(frame: Frame) -> str:
    if frame.alerts.active is None:
        return ""
    firing = [alert.labels.get("alertname", "alert") for alert in frame.alerts.active if alert.state == "firing"]
    return f"alerts {', '.join(firing)}" if firing else "alerts none"
