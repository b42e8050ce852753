"""What Prometheus counted over a window that the objectives speak of: requests, answers in time, tokens, minutes.

Every count is an `increase()`, so a restart of the engine costs nothing; it is extrapolated, so it need not be whole.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stack.telemetry.prometheus_api import PrometheusApi, Series
from stack.telemetry.slo_coverage import Coverage, Window
from stack.telemetry.slo_promql import HISTOGRAMS, LatencyObjective

Engine = tuple[str, str]
"""Job and instance."""
_BY = "job, instance, model_name"
_SEEN = "vllm:num_requests_running"
_LOOKBACK_SECONDS = 300
"""For so long Prometheus holds a series to be there after its last sample."""


@dataclass(frozen=True, order=True)
class Source:
    """An engine with a model that it served in the window.

    Attributes:
        job: The scrape job.
        instance: The target.
        model: The served name.
    """

    job: str
    instance: str
    model: str

    @property
    def engine(self) -> Engine:
        """Give what scraped it, whichever model it serves."""
        return self.job, self.instance


@dataclass(frozen=True)
class Tally:
    """A latency of one source.

    Attributes:
        events: How many were timed.
        within: How many were as fast as the bound; None where the histogram has no such bound.
        requests: The requests behind them.
        bounds: The bounds that the histogram has, where the one that is asked for is missing.
    """

    events: float
    within: float | None
    requests: float
    bounds: tuple[float, ...] = ()


@dataclass(frozen=True)
class Counts:
    """What was counted.

    Attributes:
        sources: Every engine with every model that it served.
        finished: Finished requests by source and reason.
        refused: Answers with status 5xx, by engine.
        tallies: The latencies by objective.
        prompt_tokens: By source.
        generation_tokens: By source.
        busy_seconds: How long tokens moved, by model; None is all of them.
    """

    sources: tuple[Source, ...]
    finished: Mapping[Source, Mapping[str, float]] = field(default_factory=dict)
    refused: Mapping[Engine, float] = field(default_factory=dict)
    tallies: Mapping[str, Mapping[Source, Tally]] = field(default_factory=dict)
    prompt_tokens: Mapping[Source, float] = field(default_factory=dict)
    generation_tokens: Mapping[Source, float] = field(default_factory=dict)
    busy_seconds: Mapping[str | None, float] = field(default_factory=dict)


def fetch_counts(
    api: PrometheusApi, window: Window, coverage: Coverage, latencies: Sequence[LatencyObjective]
) -> Counts:
    """Ask for everything that is counted in a window.

    Args:
        api: Prometheus.
        window: The window.
        coverage: What there is of it.
        latencies: The latency objectives.

    Raises:
        ServiceApiError: Prometheus does not answer, or refuses a query.
    """
    if coverage.begins is None:
        return Counts(())
    seen = _ask(api, f"group by ({_BY}) (last_over_time({_SEEN}[{window.text}]))", window.end)
    return Counts(
        sources=tuple(sorted(_read_source(series) for series in seen)),
        finished=_fetch_finished(api, window),
        refused=_fetch_refused(api, window, coverage.begins),
        tallies={one.name: _fetch_tallies(api, window, one) for one in latencies},
        prompt_tokens=_fetch(api, window, "vllm:prompt_tokens_total"),
        generation_tokens=_fetch(api, window, "vllm:generation_tokens_total"),
        busy_seconds=_fetch_busy(api, window, coverage),
    )


def _fetch_finished(api: PrometheusApi, window: Window) -> dict[Source, dict[str, float]]:
    expr = f"sum by ({_BY}, finished_reason) (increase(vllm:request_success_total[{window.text}]))"
    found: dict[Source, dict[str, float]] = {}
    for series in _ask(api, expr, window.end):
        reasons = found.setdefault(_read_source(series), {})
        reasons[series.labels.get("finished_reason", "")] = series.value
    return found


def _fetch_refused(api: PrometheusApi, window: Window, begins: float) -> dict[Engine, float]:
    answers, over = 'http_requests_total{status=~"5.."}', f"[{window.text}]"
    # Any service may have a metric of this name: only what also exports vLLM's own is an engine.
    risen = f"sum by (job, instance) (increase({answers}{over})) and on (job, instance) last_over_time({_SEEN}{over})"
    # The series of a status is born with its first answer, which no increase() sees. Its first value counts where the
    # engine was seen before it: not there when data begins, and in fewer scrapes than the engine.
    scrapes = f"max by (job, instance) (count_over_time({_SEEN}{over}))"
    born = (
        f"sum by (job, instance) (min_over_time({answers}{over})"
        f" and (count_over_time({answers}{over}) < on (job, instance) group_left () {scrapes})"
        f" unless last_over_time({answers}[{_LOOKBACK_SECONDS}s] @ {begins:.3f}))"
    )
    found: dict[Engine, float] = {}
    for series in (*_ask(api, risen, window.end), *_ask(api, born, window.end)):
        found[_read_engine(series)] = found.get(_read_engine(series), 0.0) + series.value
    return found


def _fetch_tallies(api: PrometheusApi, window: Window, objective: LatencyObjective) -> dict[Source, Tally]:
    histogram = HISTOGRAMS[objective.name]
    events = _fetch(api, window, f"{histogram.metric}_count")
    bucket = f'{histogram.metric}_bucket{{le=~"{build_bound_pattern(objective.seconds)}"}}'
    within, requests = _fetch(api, window, bucket), _fetch(api, window, histogram.counted)
    bounds = _fetch_bounds(api, window, f"{histogram.metric}_bucket") if events.keys() - within.keys() else {}
    return {
        source: Tally(
            events=count,
            within=within.get(source),
            requests=requests.get(source, 0.0),
            bounds=bounds.get(source, ()) if source not in within else (),
        )
        for source, count in events.items()
    }


def build_bound_pattern(seconds: float) -> str:
    """Give a pattern of a bound's label: `60.0` as Python and Prometheus 3 write it, `60` as others do."""
    return "|".join(dict.fromkeys((f"{float(seconds)}", f"{seconds:g}"))).replace(".", "[.]")


def _fetch_bounds(api: PrometheusApi, window: Window, bucket: str) -> dict[Source, tuple[float, ...]]:
    expr = f"group by ({_BY}, le) (last_over_time({bucket}[{window.text}]))"
    found: dict[Source, set[float]] = {}
    for series in _ask(api, expr, window.end):
        found.setdefault(_read_source(series), set()).add(float(series.labels.get("le", "inf")))
    return {source: tuple(sorted(filter(math.isfinite, bounds))) for source, bounds in found.items()}


def _fetch_busy(api: PrometheusApi, window: Window, coverage: Coverage) -> dict[str | None, float]:
    step_seconds = coverage.step_seconds

    def ask(by: str) -> list[Series]:
        # What happens between the last scrape of a step and the first one of the next is seen, too.
        over = f"[{step_seconds + coverage.interval_seconds}s]"
        moved = " or ".join(f"{by}(increase(vllm:{name}_tokens_total{over})) > 0" for name in ("generation", "prompt"))
        expr = f"count_over_time(({moved})[{window.seconds - 1}s:{step_seconds}s])"
        return _ask(api, expr, window.align_end(step_seconds))

    found: dict[str | None, float] = {
        series.labels.get("model_name", ""): series.value * step_seconds for series in ask("sum by (model_name) ")
    }
    return found | {None: sum(series.value * step_seconds for series in ask("sum"))}


def _fetch(api: PrometheusApi, window: Window, selector: str) -> dict[Source, float]:
    found = _ask(api, f"sum by ({_BY}) (increase({selector}[{window.text}]))", window.end)
    return {_read_source(series): series.value for series in found}


def _ask(api: PrometheusApi, expr: str, at_seconds: float) -> list[Series]:
    # A counter that somebody sets to NaN would make every sum with it NaN, too.
    return [series for series in api.query(expr, at_seconds=at_seconds) if math.isfinite(series.value)]


def _read_source(series: Series) -> Source:
    return Source(*_read_engine(series), series.labels.get("model_name", ""))


def _read_engine(series: Series) -> Engine:
    return series.labels.get("job", ""), series.labels.get("instance", "")
