"""The settings of the objectives, and the bounds that vLLM's histograms can answer for."""

from __future__ import annotations

from types import MappingProxyType

from pydantic import Field

from stack.config.schema_services import Section
from stack.config.values import Duration

# The upper bounds of vLLM's histograms, in seconds: a share of requests is known at these and nowhere between.
# Source: vLLM 0.31.0 and 0.32.0, v1/metrics/buckets.py and v1/metrics/loggers.py (the same in both).
LATENCY_BOUNDS = MappingProxyType(
    {
        "ttft": (
            0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
            80.0, 160.0, 640.0, 2560.0,
        ),
        "itl": (
            0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
        ),
        "e2e": (
            0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0,
            960.0, 1920.0, 7680.0,
        ),
    }
)  # fmt: skip


class TtftObjective(Section):
    """Time to the first token."""

    seconds: float = Field(default=2.5, gt=0, description="Longest good TTFT, in seconds: a bound of vLLM's histogram")
    target: float = Field(default=0.95, ge=0.5, lt=1, description="Share of requests that must be as fast")


class ItlObjective(Section):
    """Time between two tokens."""

    seconds: float = Field(default=0.2, gt=0, description="Longest good ITL, in seconds: a bound of vLLM's histogram")
    target: float = Field(default=0.95, ge=0.5, lt=1, description="Share of tokens that must come as fast")


class E2eObjective(Section):
    """Time of a whole request."""

    seconds: float = Field(
        default=60.0, gt=0, description="Longest good E2E latency, in seconds: a bound of vLLM's histogram"
    )
    target: float = Field(default=0.95, ge=0.5, lt=1, description="Share of requests that must be as fast")


class SloConfig(Section):
    """The objectives, and how long their error budget must last."""

    enabled: bool = Field(default=True, description="Record how well the objectives are kept, and alert when not")
    window: Duration = Field(
        default="14d", description="How long an error budget must last; no longer than Prometheus keeps samples"
    )
    minimum_requests: int = Field(
        default=20,
        ge=1,
        le=1_000_000,
        description="Requests that an alert needs in its longer window: fewer of them say nothing",
    )
    availability: float = Field(
        default=0.99, ge=0.5, lt=1, description="Share of requests that must be answered without an error of ours"
    )
    ttft: TtftObjective = TtftObjective()
    itl: ItlObjective = ItlObjective()
    e2e: E2eObjective = E2eObjective()
