"""Objectives as Prometheus rules: the share of failures over several windows, the budget left, burn-rate alerts. Pure.

Windows and factors are those of Google's SRE workbook, "Alerting on SLOs": a page where the budget burns 14.4 times as
fast as it may (over 1 h) or 6 times (6 h), a ticket at 3 times (1 d) and at the plain pace (3 d), each seen in a window
of a twelfth too, so that an alert ends when its cause does. The workbook warns that this is not for low traffic: one
failure of three requests is a burn rate of hundreds. So an alert needs a least number of requests in its longer window.

A latency is judged by histogram buckets at a bound of theirs, never by quantiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stack.telemetry.rule_text import render_group
from stack.telemetry.slo_promql import (
    HISTOGRAMS,
    LatencyObjective,
    build_answered,
    build_failed_share,
    build_presence,
    build_request_count,
    build_slow_share,
)

_HEADER = """\
# Written by stack/telemetry/slo_rules.py from `[slo]` of stack.toml; in prometheus/rules it is that of the defaults.
# `slo` is the objective; `vllm_slo_errors` the share of requests (of tokens, for itl) that did not meet it.
groups:
"""
_FAST, _SLOW = ("5m", "30m", "1h"), ("2h", "6h", "1d", "3d")
# Long looks back are not taken every few seconds. Prometheus forgets a series after 5 minutes without a sample.
_INTERVALS = {"fast": "30s", "slow": "2m", "window": "4m"}
_RUNBOOK = "prometheus/runbook.md"


@dataclass(frozen=True)
class Objectives:
    """What is to be kept.

    Attributes:
        window: How long an error budget must last, as a Prometheus duration.
        minimum_requests: Requests that an alert needs in its longer window.
        availability: The share that must be answered without an error of ours, below 1.
        latencies: The latency objectives.
    """

    window: str
    minimum_requests: int
    availability: float
    latencies: Sequence[LatencyObjective]


@dataclass(frozen=True)
class Burn:
    """One severity: its pairs of windows with their factors.

    Attributes:
        severity: The alert's.
        pairs: Longer window, shorter window, how many times as fast as it may the budget burns in both.
    """

    severity: str
    pairs: tuple[tuple[str, str, float], ...]


BURNS = (
    Burn("critical", (("1h", "5m", 14.4), ("6h", "30m", 6.0))),
    Burn("warning", (("1d", "2h", 3.0), ("3d", "6h", 1.0))),
)


def render_slo_rules(objectives: Objectives) -> str:
    """Give the rule file of the objectives, as YAML."""
    groups = (
        ("slo-objectives", None, _build_constants(objectives)),
        ("slo-fast", _INTERVALS["fast"], _build_ratios(objectives, _FAST)),
        ("slo-slow", _INTERVALS["slow"], _build_ratios(objectives, _SLOW)),
        ("slo-window", _INTERVALS["window"], _build_window(objectives)),
        ("slo-alerts", _INTERVALS["fast"], _build_alerts(objectives)),
    )
    return _HEADER + "\n".join(render_group(*group) for group in groups)


def build_alert_name(objective: str) -> str:
    """Give the name of an objective's alerts."""
    return f"Vllm{objective.capitalize()}BudgetBurning"


def _build_constants(objectives: Objectives) -> list[dict[str, object]]:
    rules = [
        _record("job_instance_model:vllm_engine:present1h", None, build_presence()),
        _record("slo:vllm_slo_target:ratio", "availability", f"vector({objectives.availability})"),
    ]
    for latency in objectives.latencies:
        rules.append(_record("slo:vllm_slo_target:ratio", latency.name, f"vector({latency.target})"))
        rules.append(_record("slo:vllm_slo_bound:seconds", latency.name, f"vector({latency.seconds})"))
    return rules


def _build_ratios(objectives: Objectives, windows: Sequence[str]) -> list[dict[str, object]]:
    rules = []
    longer = {pair[0] for burn in BURNS for pair in burn.pairs}
    for window in windows:
        name = f"model_slo:vllm_slo_errors:ratio_rate{window}"
        rules.append(_record(name, "availability", build_failed_share(window)))
        rules += [_record(name, one.name, build_slow_share(one, window)) for one in objectives.latencies]
        if window in longer:
            name = f"model_slo:vllm_slo_requests:increase{window}"
            rules.append(_record(name, "availability", f"{build_answered('increase', window)} >= 0"))
            rules += [_record(name, one.name, build_request_count(one, window)) for one in objectives.latencies]
    return rules


def _build_window(objectives: Objectives) -> list[dict[str, object]]:
    """Give the errors of the whole window, and what is left of the budget: 1 at first, 0 and less when it is spent."""
    errors, window = "model_slo:vllm_slo_errors:ratio_window", objectives.window
    rules = [_record(errors, "availability", build_failed_share(window))]
    rules += [_record(errors, one.name, build_slow_share(one, window)) for one in objectives.latencies]
    left = f"1 - {errors} / on (slo) group_left () (1 - slo:vllm_slo_target:ratio)"
    return [*rules, {"record": "model_slo:vllm_slo_budget_left:ratio", "expr": left}]


def _build_alerts(objectives: Objectives) -> list[dict[str, object]]:
    told = {"availability": (objectives.availability, "failed")}
    for one in objectives.latencies:
        histogram = HISTOGRAMS[one.name]
        what = "took longer than" if one.name != "itl" else "came more than"
        after = " after the one before" if one.name == "itl" else " to the first token" if one.name == "ttft" else ""
        told[one.name] = one.target, f"{what} {one.seconds:g} s{after} ({histogram.words})"
    return [
        rule
        for name, (target, what) in told.items()
        for burn in BURNS
        for rule in _build_alert(objectives, name, target, burn, what)
    ]


def _build_alert(objectives: Objectives, name: str, target: float, burn: Burn, what: str) -> list[dict[str, object]]:
    # More than everything cannot fail: such a pair would be an alert that never fires.
    pairs = [pair for pair in burn.pairs if pair[2] * (1 - target) < 1]
    if not pairs:
        return []
    expr = " or ".join(_burns(name, pair, pair[2] * (1 - target), objectives.minimum_requests) for pair in pairs)
    things = HISTOGRAMS[name].things if name in HISTOGRAMS else "requests"
    pace = "within hours or days" if burn.severity == "critical" else f"before its {objectives.window} are over"
    alert = build_alert_name(name)
    return [
        {
            "alert": alert,
            "expr": expr,
            "labels": {"severity": burn.severity, "slo": name},
            "annotations": {
                "summary": f"The error budget of {name} will not last",
                "description": (
                    f"{{{{ $value | humanizePercentage }}}} of the {things} of {{{{ $labels.model_name }}}} {what}; "
                    f"{_percent(1 - target)} may. At this pace the budget is spent {pace}."
                ),
                "runbook_url": f"{_RUNBOOK}#{alert.lower()}",
            },
        }
    ]


def _burns(name: str, pair: tuple[str, str, float], bound: float, minimum: int) -> str:
    longer, shorter, _ = pair
    slo = f'{{slo="{name}"}}'
    return (
        f"(model_slo:vllm_slo_errors:ratio_rate{longer}{slo} > {bound:.6g}"
        f" and model_slo:vllm_slo_errors:ratio_rate{shorter}{slo} > {bound:.6g}"
        f" and model_slo:vllm_slo_requests:increase{longer}{slo} >= {minimum})"
    )


def _record(name: str, objective: str | None, expr: str) -> dict[str, object]:
    labels = {} if objective is None else {"labels": {"slo": objective}}
    return {"record": name, "expr": expr, **labels}


def _percent(share: float) -> str:
    return f"{share * 100:.4g} %"
