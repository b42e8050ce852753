"""The baseline of a model revision: what a run judged right measured, as a measure for later ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stack.checks.finding import Baseline, Finding

# What must have passed before a run may speak for its model.
JUDGES = ("canaries", "likelihood", "agreement")
# Eager against compiled moves the mean over 49 tokens by 0.01 nats (SmolLM2-135M), so 0.04 leaves room for
# another kernel or number format; a rotary base of 10000 for 100000 moves two of three texts by 0.06 and
# 0.11, two neighbouring layers in each other's place all three by 0.17 and more.
LEAST_TOLERANCE_NATS = 0.04
# Repeats on one engine tell how far batch size alone moves a value; another engine is given four times that.
REPEAT_FACTOR = 4.0


def build_baseline(revision: str, measured: Mapping[str, Any], findings: Sequence[Finding]) -> Baseline | None:
    """Build the baseline out of what a run measured, or give None when the run cannot speak for its model."""
    status = {finding.check: finding.status for finding in findings}
    if any(status.get(judge) != "pass" for judge in JUDGES) or "nll" not in measured:
        return None
    values: Mapping[str, float] = measured["nll"]
    spread: Mapping[str, float] = measured.get("nll_spread", {})
    tolerance = {name: max(LEAST_TOLERANCE_NATS, REPEAT_FACTOR * spread.get(name, 0.0)) for name in values}
    return Baseline(revision, dict(values), tolerance)


def compare_with_baseline(baseline: Baseline, values: Mapping[str, float]) -> dict[str, float]:
    """Give the values that lie further from the baseline than its tolerance allows, with their distance."""
    return {
        name: values[name] - expected
        for name, expected in baseline.values.items()
        if name in values and abs(values[name] - expected) > baseline.tolerance.get(name, LEAST_TOLERANCE_NATS)
    }
