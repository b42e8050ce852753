"""The JSON document of `stack slo report`. Pure."""

from __future__ import annotations

import datetime
from typing import Any

from stack.operations.slo.report import SloReport
from stack.telemetry.slo_judge import Outcome, Part, Traffic

SCHEMA_VERSION = 1


def build_document(report: SloReport) -> dict[str, Any]:
    """Give the report as JSON says it.

    - `passed`: false where an objective was missed, by a model or by all of them; null where nothing can be said.
    - `window`, `data`: ISO 8601 in UTC; `data.seen_seconds` is how long an engine was seen, to `data.step_seconds`.
    - `total`: all models together, or null where no engine was seen; `models`: each of them.
    - Counts are `increase()` of counters: extrapolated by a little, so they need not be whole.
    - `objectives`: `share` of `counts` (requests or tokens) that were good, `budget_left` (below 0 where it is spent);
      `verdict` is `kept`, `missed`, `few`, `idle` or `unknown`.
    - `bench`: the last bench of the commit that runs, a sweep before others; null without one.
    - `throughput`: per second of the window (from where its data begin), and of the minutes in which tokens moved.
    """
    window, coverage = report.window, report.coverage
    parts = [_build_part(part, report) for part in report.parts]
    return {
        "schema_version": SCHEMA_VERSION,
        "project": report.project,
        "prometheus": report.prometheus,
        "passed": report.is_kept,
        "window": {"begins_at": _tell(window.begin), "ends_at": _tell(window.end), "seconds": window.seconds},
        "data": {
            "begins_at": _tell(coverage.begins),
            "ends_at": _tell(coverage.ends),
            "seen_seconds": round(coverage.seen_seconds),
            "step_seconds": coverage.step_seconds,
            "scrape_interval_seconds": coverage.interval_seconds,
            "retention": coverage.retention,
        },
        "minimum_requests": report.objectives.minimum_requests,
        "notes": list(report.notes),
        "total": parts[0] if parts else None,
        "models": parts[1:],
        "bench": vars(report.bench) if report.bench is not None else None,
    }


def _build_part(part: Part, report: SloReport) -> dict[str, Any]:
    traffic = part.traffic
    busy_seconds = min(traffic.busy_seconds, report.told_seconds)
    return {
        "model": part.model,
        "objectives": [_build_outcome(outcome) for outcome in part.outcomes],
        "requests": {
            "total": round(traffic.requests, 2),
            "answered": round(traffic.answered, 2),
            "failed": round(traffic.failed, 2),
            "error_ratio": _round(traffic.error_ratio),
            "by_reason": {reason: round(count, 2) for reason, count in sorted(traffic.finished.items())},
            "status_5xx": round(traffic.refused, 2),
        },
        "tokens": {"prompt": round(traffic.prompt_tokens), "generation": round(traffic.generation_tokens)},
        "throughput": {
            "window": _build_rates(traffic, report.told_seconds),
            "with_traffic": _build_rates(traffic, busy_seconds),
        },
    }


def _build_outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "name": outcome.name,
        "bound_seconds": outcome.bound_seconds,
        "target": outcome.target,
        "counts": outcome.things,
        "events": round(outcome.events, 2),
        "bad": None if outcome.bad is None else round(outcome.bad, 2),
        "share": _round(outcome.share),
        "budget_left": _round(outcome.budget_left),
        "verdict": outcome.verdict,
        "note": outcome.note,
    }


def _build_rates(traffic: Traffic, seconds: float) -> dict[str, float | None]:
    counts = {
        "requests": traffic.requests,
        "prompt_tokens": traffic.prompt_tokens,
        "generation_tokens": traffic.generation_tokens,
    }
    rates = {f"{name}_per_second": _round(count / seconds) if seconds > 0 else None for name, count in counts.items()}
    return {"seconds": round(seconds), **rates}


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _tell(at: float | None) -> str | None:
    return None if at is None else datetime.datetime.fromtimestamp(at, datetime.UTC).isoformat()
