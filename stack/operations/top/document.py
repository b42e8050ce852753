"""One frame of `stack top` as a JSON document. Pure."""

from __future__ import annotations

import dataclasses
from typing import Any

from stack.operations.events import parse_time
from stack.operations.top.run import Alerts, Frame
from stack.telemetry.live import SHARES, Counts, EngineLive, Latency

SCHEMA_VERSION = 1


def build_document(frame: Frame) -> dict[str, Any]:
    """Give the JSON document of a frame; what is not known is null.

    - `state`: `measured`, `measuring` (the first look, or the first after a restart) or `silent`.
    - `silent`: since when and why the engine does not answer, else null.
    - `total` and `engines`: gauges; `recent` is what happened since the last look, `whole` since the engine started,
      both as counts, with the `seconds` to divide them by. Latencies are in seconds; of a quantile that is equal to
      `highest_bound` only that is known, that it is no less.
    - `alerts`: null where no Prometheus can be asked.
    """
    live = frame.live
    return {
        "schema_version": SCHEMA_VERSION,
        "at": frame.at.isoformat(timespec="milliseconds"),
        "url": frame.url,
        "state": "silent" if live is None else "measuring" if live.total.recent is None else "measured",
        "silent": None
        if frame.silence is None
        else {"since": frame.silence.since.isoformat(timespec="milliseconds"), "why": frame.silence.why},
        "runs": {
            name: value.isoformat(timespec="seconds") if hasattr(value, "isoformat") else value
            for name, value in dataclasses.asdict(frame.runs).items()
        },
        "started_at_seconds": live.started_at if live is not None else None,
        "restart": live.restart if live is not None else None,
        "total": _build_engine(live.total) if live is not None else None,
        "engines": [_build_engine(part) for part in live.parts] if live is not None else [],
        "gpus": [dataclasses.asdict(gpu) for gpu in frame.gpus],
        "alerts": _build_alerts(frame.alerts),
    }


def _build_engine(engine: EngineLive) -> dict[str, Any]:
    return {
        "model": engine.model,
        "engine": engine.engine,
        "running": engine.running,
        "waiting": engine.waiting,
        "deferred": engine.deferred,
        "kv_cache_usage_ratio": engine.kv_usage,
        "kv_cache_tokens": engine.kv_tokens,
        "is_asleep": engine.is_asleep,
        "recent": _build_counts(engine.recent) if engine.recent is not None else None,
        "whole": _build_counts(engine.whole),
    }


def _build_counts(counts: Counts) -> dict[str, Any]:
    return {
        "seconds": round(counts.seconds, 3) if counts.seconds is not None else None,
        "prompt_tokens": counts.prompt_tokens,
        "generation_tokens": counts.generation_tokens,
        "prompt_tokens_per_second": _round(counts.per_second(counts.prompt_tokens)),
        "generation_tokens_per_second": _round(counts.per_second(counts.generation_tokens)),
        "requests": counts.requests,
        "finished": dict(counts.finished),
        "refused": dict(counts.refused),
        "preemptions": counts.preemptions,
        "prefix_hit_ratio": _round(counts.hit_ratio),
        "latency_seconds": {name: _build_latency(latency) for name, latency in counts.latencies.items()},
    }


def _build_latency(latency: Latency) -> dict[str, Any]:
    return {
        "events": latency.events,
        **{f"p{share * 100:g}": _round(latency.quantiles.get(share)) for share in SHARES},
        "highest_bound": latency.highest_bound_seconds,
    }


def _build_alerts(alerts: Alerts) -> list[dict[str, Any]] | None:
    if alerts.active is None:
        return None
    return [
        {
            "name": alert.labels.get("alertname"),
            "severity": alert.labels.get("severity"),
            "state": alert.state,
            "since": began.isoformat(timespec="seconds") if (began := parse_time(alert.active_at)) else None,
            "summary": alert.summary,
            "labels": dict(alert.labels),
        }
        for alert in alerts.active
    ]


def _round(value: float | None) -> float | None:
    return round(value, 4) if value is not None else None
