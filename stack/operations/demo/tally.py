"""What a demo found, counted as it comes and given as a document. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stack.operations.replay.report import build_percentiles
from stack.traffic.demo_phases import RECIPES
from stack.traffic.demo_plan import DemoPlan
from stack.traffic.observation import Observation
from stack.traffic.record import HUNG_UP, RecordedResponse
from stack.traffic.spread import Spread

OUTCOMES = ("stop", "length", "other end", "hung up", "refused", "failed")
KEPT_PROBLEMS = 20
_PERCENTILES = (50, 95, 99)


def find_outcome(ends: str, response: RecordedResponse) -> str:
    """Tell how a request ended, one of `OUTCOMES`; `failed` is what should not have been.

    Args:
        ends: How it was to end: `answer`, `left` or `refused`.
        response: What came.
    """
    if response.status is not None and 400 <= response.status < 500 and ends == "refused":
        return "refused"
    if response.error == HUNG_UP and ends == "left":
        return "hung up"
    if response.error or response.status != 200 or ends == "refused":
        return "failed"
    return response.finish_reason if response.finish_reason in OUTCOMES else "other end"


@dataclass
class Peak:
    """The most that was seen on the engine's page within a phase."""

    running: float = 0.0
    waiting: float = 0.0
    kv_cache_usage_ratio: float = 0.0

    def take(self, running: float | None, waiting: float | None, usage: float | None) -> None:
        """Take one look."""
        self.running = max(self.running, running or 0.0)
        self.waiting = max(self.waiting, waiting or 0.0)
        self.kv_cache_usage_ratio = max(self.kv_cache_usage_ratio, usage or 0.0)


@dataclass
class Figures:
    """Counts, tokens and latencies of a phase, or of all."""

    outcomes: Counter[str] = field(default_factory=Counter)
    ttft: Spread = field(default_factory=Spread)
    itl: Spread = field(default_factory=Spread)
    e2e: Spread = field(default_factory=Spread)
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def take(self, outcome: str, observation: Observation) -> None:
        """Take what became of one request; only whole answers have a latency."""
        response = observation.response
        self.outcomes[outcome] += 1
        usage = response.answers[0].usage if response.answers else None
        if usage is not None:
            self.prompt_tokens += usage.prompt_tokens
            self.completion_tokens += usage.completion_tokens
        if response.status == 200 and not response.error:
            self.e2e.take(response.duration_seconds)
            self.ttft.take(response.ttft_seconds)
            for gap in observation.itl_seconds:
                self.itl.take(gap)

    def build_document(self) -> dict[str, Any]:
        """Give them as JSON says them."""
        spreads = {"ttft_seconds": self.ttft, "itl_seconds": self.itl, "e2e_seconds": self.e2e}
        return {
            "requests": sum(self.outcomes.values()),
            "outcomes": {name: self.outcomes[name] for name in OUTCOMES},
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            **{name: build_percentiles(spread, _PERCENTILES) for name, spread in spreads.items()},
        }


class DemoTally:
    """Takes observation after observation of a plan's requests.

    Args:
        plan: The plan.
    """

    def __init__(self, plan: DemoPlan) -> None:
        self._plan = plan
        self.whole = Figures()
        self.phases = [Figures() for _ in plan.spans]
        self.peaks = [Peak() for _ in plan.spans]
        self.statuses: Counter[str] = Counter()
        self.problems: list[dict[str, Any]] = []

    def take(self, observation: Observation) -> None:
        """Take what became of one request."""
        planned, response = self._plan.planned[observation.index], observation.response
        outcome = find_outcome(RECIPES[planned.recipe].ends, response)
        self.statuses["none" if response.status is None else str(response.status)] += 1
        for figures in (self.whole, self.phases[planned.phase]):
            figures.take(outcome, observation)
        if outcome == "failed" and len(self.problems) < KEPT_PROBLEMS:
            # No text of the request or the answer: an engine's refusal may quote either.
            told = {"status": response.status, "error": response.error or None, "said": response.error_message or None}
            self.problems.append({"request": observation.custom_id, **told})

    @property
    def is_passed(self) -> bool:
        """Tell whether nothing failed that should not have."""
        return not self.whole.outcomes["failed"]

    def build_document(self) -> dict[str, Any]:
        """Give what was counted: of all, and phase by phase."""
        return {
            "statuses": dict(sorted(self.statuses.items())),
            "now": self.whole.build_document(),
            "phases": [self._build_phase(at) for at in range(len(self._plan.spans))],
            "problems": self.problems,
        }

    def _build_phase(self, at: int) -> Mapping[str, Any]:
        span, peak = self._plan.spans[at], self.peaks[at]
        return {
            "name": span.phase.name,
            "does": span.phase.does,
            "from_seconds": round(span.start_seconds, 3),
            "to_seconds": round(span.end_seconds, 3),
            **self.phases[at].build_document(),
            "most": {
                "running": int(peak.running),
                "waiting": int(peak.waiting),
                "kv_cache_usage_ratio": round(peak.kv_cache_usage_ratio, 4),
            },
        }
