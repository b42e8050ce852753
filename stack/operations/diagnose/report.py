"""What `stack diagnose` prints: text for people, one document for programs. Pure."""

from __future__ import annotations

from typing import Any

from stack.operations.diagnose.run import Diagnosed
from stack.telemetry.diagnosis.diagnose import Diagnosis
from stack.telemetry.diagnosis.limit import Limit
from stack.telemetry.diagnosis.window import Pair, Window

SCHEMA_VERSION = 1


def build_document(diagnosed: Diagnosed) -> dict[str, Any]:
    """Give the report as JSON."""
    return {
        "schema_version": SCHEMA_VERSION,
        "url": diagnosed.url,
        "seconds": round(diagnosed.seconds, 3),
        "engines": [_build_engine(one) for one in diagnosed.diagnoses],
    }


def _build_engine(one: Diagnosis) -> dict[str, Any]:
    return {
        "model": one.window.model if one.window else None,
        "engine": one.window.engine if one.window else None,
        "verdict": one.verdict,
        "limits": [
            {
                "name": limit.name,
                "said": limit.said,
                "confidence": limit.confidence,
                "evidence": list(limit.evidence),
                "change": list(limit.change),
            }
            for limit in one.limits
        ],
        "missing": list(one.missing),
        "figures": _build_figures(one.window) if one.window else None,
    }


def _build_figures(window: Window) -> dict[str, Any]:
    def pair(value: Pair) -> list[float]:
        return [value.before, value.after]

    around, share = window.around, window.prefill_share
    return {
        "running": pair(window.running),
        "waiting": pair(window.waiting),
        "deferred": pair(window.deferred),
        "kv_cache_usage": pair(window.kv_usage),
        "requests_finished": window.finished,
        "generated_tokens": window.generated,
        "prompt_tokens": window.prompted,
        "prompt_tokens_computed": window.computed,
        "preemptions": window.preemptions,
        "rejections": window.rejections,
        "mean_queue_seconds": round(window.mean_queue_seconds, 4),
        "mean_requests": round(window.present, 3),
        "prefill_share": round(share, 4) if share is not None else None,
        "max_num_seqs": around.max_num_seqs,
        "engine_cores": _round(around.engine_cores),
        "other_cores": _round(around.other_cores),
        "cores": around.cores,
    }


def _round(value: float | None) -> float | None:
    return round(value, 3) if value is not None else None


def render_lines(diagnosed: Diagnosed) -> list[str]:
    """Give the report as lines: for each model the verdict, its figures, and what to change."""
    lines: list[str] = []
    for one in diagnosed.diagnoses:
        lines += ["", *_render(one)] if lines else _render(one)
    return lines


def _render(one: Diagnosis) -> list[str]:
    name = f"{one.window.model} (engine {one.window.engine})" if one.window else "engine"
    if not one.limits:
        return [f"{name}: {one.verdict}", *(f"  missing: {words}" for words in one.missing)]
    first, *others = one.limits
    lines = [f"{name}: {_head(first)}", *_render_limit(first)]
    for limit in others:
        lines += [f"  also: {_head(limit)}", *(f"  {line}" for line in _render_limit(limit))]
    return [*lines, *(f"  not known: {words}" for words in one.missing)]


def _head(limit: Limit) -> str:
    return f"{limit.name}: {limit.said} (confidence {limit.confidence})"


def _render_limit(limit: Limit) -> list[str]:
    return [*(f"  - {words}" for words in limit.evidence), *(f"  change: {words}" for words in limit.change)]
