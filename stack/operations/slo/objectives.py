"""The objectives of `[slo]` as the rules are told them."""

from __future__ import annotations

from stack.config.schema import StackConfig
from stack.telemetry.slo_promql import HISTOGRAMS, LatencyObjective
from stack.telemetry.slo_rules import Objectives


def build_objectives(config: StackConfig) -> Objectives:
    """Give the objectives of a configuration."""
    slo = config.slo
    latencies = [(name, getattr(slo, name)) for name in HISTOGRAMS]
    return Objectives(
        window=slo.window,
        minimum_requests=slo.minimum_requests,
        availability=slo.availability,
        latencies=tuple(LatencyObjective(name, one.seconds, one.target) for name, one in latencies),
    )
