"""Objectives held against what was counted over a window: all engines together, and model by model. Pure.

The definitions are those of the burn-rate rules: a request fails that finished with an error or was answered with a
status of 5xx; what a client gave up says nothing of us; a latency counts by the histogram's bucket at its bound.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from stack.telemetry.slo_counts import Counts, Source, Tally
from stack.telemetry.slo_promql import HISTOGRAMS, LatencyObjective
from stack.telemetry.slo_rules import Objectives

Verdict = Literal["kept", "missed", "few", "idle", "unknown"]
ABORTED, FAILED = "abort", "error"
# increase() computes with fractions: a share that is exactly its target must not be missed by the last digit.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Outcome:
    """What became of one objective.

    Attributes:
        name: `availability`, `ttft`, `itl` or `e2e`.
        bound_seconds: The bound of a latency, else None.
        target: The share that must be good.
        things: What is counted: requests or tokens.
        events: How many there were.
        bad: How many of them were not good; None where nothing can tell.
        verdict: `kept` or `missed`; `few` with fewer requests than an alert needs, `idle` without any, `unknown` where
            Prometheus has no such metric or the histogram no such bound.
        note: Why nothing, or not everything, can be told, or None.
    """

    name: str
    bound_seconds: float | None
    target: float
    things: str
    events: float
    bad: float | None
    verdict: Verdict
    note: str | None = None

    @property
    def share(self) -> float | None:
        """Give the share that was good; None where there was nothing."""
        return 1 - self.bad / self.events if self.bad is not None and self.events > 0 else None

    @property
    def budget_left(self) -> float | None:
        """Give what is left of the error budget: 1 for all of it, 0 for nothing, less where more than it is spent."""
        return 1 - (1 - self.share) / (1 - self.target) if self.share is not None else None


@dataclass(frozen=True)
class Traffic:
    """What was served.

    Attributes:
        finished: Finished requests by reason.
        refused: Answers with a status of 5xx.
        prompt_tokens: Tokens read.
        generation_tokens: Tokens made.
        busy_seconds: How long tokens moved.
    """

    finished: Mapping[str, float]
    refused: float
    prompt_tokens: float
    generation_tokens: float
    busy_seconds: float

    @property
    def requests(self) -> float:
        """Give everything that was asked and came to an end."""
        return sum(self.finished.values()) + self.refused

    @property
    def answered(self) -> float:
        """Give what was answered, well or not."""
        return self.requests - self.finished.get(ABORTED, 0.0)

    @property
    def failed(self) -> float:
        """Give what failed by a fault of ours."""
        return self.finished.get(FAILED, 0.0) + self.refused

    @property
    def error_ratio(self) -> float | None:
        """Give the share that failed of what was answered; None where there was nothing."""
        return self.failed / self.answered if self.answered > 0 else None


@dataclass(frozen=True)
class Part:
    """All models together, or one of them.

    Attributes:
        model: The served name; None for all of them.
        outcomes: The objectives, in the order of `[slo]`.
        traffic: What was served.
    """

    model: str | None
    outcomes: tuple[Outcome, ...]
    traffic: Traffic


def judge(counts: Counts, objectives: Objectives) -> tuple[Part, ...]:
    """Give all models together, then each; no part where no engine was ever seen."""
    models = sorted({source.model for source in counts.sources})
    return tuple(_build_part(counts, objectives, model) for model in ([None, *models] if models else []))


def is_kept(parts: Sequence[Part]) -> bool | None:
    """Tell whether the objectives were kept, by each model and by all; None where nothing can be told of any."""
    verdicts = {outcome.verdict for part in parts for outcome in part.outcomes}
    return False if "missed" in verdicts else True if "kept" in verdicts else None


def find_shared_engines(counts: Counts) -> dict[tuple[str, str], float]:
    """Give engines that served several models, with their answers of status 5xx: nobody can tell whose they were."""
    return {engine: count for engine, count in counts.refused.items() if len(_models_of(counts, engine)) > 1}


def _build_part(counts: Counts, objectives: Objectives, model: str | None) -> Part:
    sources = [source for source in counts.sources if model is None or source.model == model]
    traffic = _build_traffic(counts, sources, model)
    is_told = any(source in counts.finished for source in sources)
    latencies = (
        _judge_latency(one, counts, sources, objectives.minimum_requests) for one in objectives.latencies
    )  # fmt: skip
    return Part(model, (_judge_availability(traffic, objectives, is_told=is_told), *latencies), traffic)


def _build_traffic(counts: Counts, sources: Collection[Source], model: str | None) -> Traffic:
    finished: dict[str, float] = {}
    for source in sources:
        for reason, count in counts.finished.get(source, {}).items():
            finished[reason] = finished.get(reason, 0.0) + count
    engines = {source.engine for source in sources}
    return Traffic(
        finished=finished,
        refused=sum(
            count
            for engine, count in counts.refused.items()
            if engine in engines and (model is None or len(_models_of(counts, engine)) == 1)
        ),
        prompt_tokens=sum(counts.prompt_tokens.get(source, 0.0) for source in sources),
        generation_tokens=sum(counts.generation_tokens.get(source, 0.0) for source in sources),
        busy_seconds=counts.busy_seconds.get(model, 0.0),
    )


def _judge_availability(traffic: Traffic, objectives: Objectives, *, is_told: bool) -> Outcome:
    target, events, bad = objectives.availability, traffic.answered, traffic.failed
    if not is_told:
        return Outcome("availability", None, target, "requests", 0.0, None, "unknown", "no request is counted here")
    verdict = _decide(events, bad, target, events, objectives.minimum_requests)
    return Outcome("availability", None, target, "requests", events, bad, verdict)


def _judge_latency(one: LatencyObjective, counts: Counts, sources: Collection[Source], minimum: int) -> Outcome:
    things, metric = HISTOGRAMS[one.name].things, HISTOGRAMS[one.name].metric
    found = {source: tally for source, tally in counts.tallies.get(one.name, {}).items() if source in sources}
    if not found:
        note = f"Prometheus has no {metric} here"
        return Outcome(one.name, one.seconds, one.target, things, 0.0, None, "unknown", note)
    told = {source: tally for source, tally in found.items() if tally.within is not None}
    note = _describe_missing(one, found)
    if not told:
        events = sum(tally.events for tally in found.values())
        return Outcome(one.name, one.seconds, one.target, things, events, None, "unknown", note)
    events = sum(tally.events for tally in told.values())
    bad = max(events - sum(tally.within or 0.0 for tally in told.values()), 0.0)
    verdict = _decide(events, bad, one.target, sum(tally.requests for tally in told.values()), minimum)
    return Outcome(one.name, one.seconds, one.target, things, events, bad, verdict, note)


def _decide(events: float, bad: float, target: float, requests: float, minimum: int) -> Verdict:
    if events <= 0:
        return "idle"
    # The counts are extrapolated by a little: what rounds to enough requests is enough.
    if round(requests) < minimum:
        return "few"
    return "kept" if bad <= (1 - target + _ROUNDING) * events else "missed"


def _describe_missing(one: LatencyObjective, found: Mapping[Source, Tally]) -> str | None:
    without = {source.instance: tally.bounds for source, tally in sorted(found.items()) if tally.within is None}
    if not without:
        return None
    known = ", ".join(f"{bound:g}" for bound in sorted(set().union(*without.values())))
    return f"the histogram of {', '.join(without)} has no bound at {one.seconds:g} s, only at {known or 'infinity'}"


def _models_of(counts: Counts, engine: tuple[str, str]) -> set[str]:
    return {source.model for source in counts.sources if source.engine == engine}
