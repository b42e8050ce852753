"""`stack slo report`: the objectives of `[slo]` held against what Prometheus counted over a window."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import httpx2

from stack.config.quantities import parse_duration_seconds
from stack.errors import NotRunningError, leave_out_login
from stack.operations.bench.last import LastBench, find_last_bench
from stack.operations.session import Session
from stack.operations.slo.objectives import build_objectives
from stack.operations.slo.words import describe_span, describe_time
from stack.operations.status.read import read_status
from stack.telemetry.prometheus_api import SERVICE, PrometheusApi
from stack.telemetry.slo_counts import Counts, fetch_counts
from stack.telemetry.slo_coverage import Coverage, Window, fetch_coverage
from stack.telemetry.slo_judge import Part, find_shared_engines, is_kept, judge
from stack.telemetry.slo_rules import Objectives

SHORTEST_SECONDS = 300
"""Below this, edges between scrapes weigh more than what is between them."""
# Months of samples are read for one answer; Prometheus itself gives up after two minutes.
_TIMEOUT_SECONDS = 130.0
# A sample that is missing at an edge is no gap.
_EDGE_SECONDS = 300


@dataclass(frozen=True)
class SloReport:
    """What became of the objectives.

    Attributes:
        project: The project whose `[slo]` was held against the counts.
        prometheus: Who counted, as a URL.
        window: The window that was asked for.
        coverage: What there is of it.
        objectives: What was to be kept.
        parts: All models together, then each; empty where no engine was seen.
        notes: What must be known to read the numbers right.
        bench: What the engine can do: the last bench of its commit, or None.
    """

    project: str
    prometheus: str
    window: Window
    coverage: Coverage
    objectives: Objectives
    parts: tuple[Part, ...]
    notes: tuple[str, ...]
    bench: LastBench | None = None

    @property
    def is_kept(self) -> bool | None:
        """Tell whether the objectives were kept; None where nothing can be said."""
        return is_kept(self.parts)

    @property
    def told_seconds(self) -> float:
        """Give how much of the window is behind the first sample."""
        begins = self.coverage.begins
        return self.window.end - begins if begins is not None else 0.0


def report_objectives(session: Session, *, since_seconds: int | None, prometheus: str | None) -> SloReport:
    """Hold the objectives against a window that ends now.

    Args:
        session: The run of the tool.
        since_seconds: How long the window is; None for that of `[slo]`.
        prometheus: Where a Prometheus answers, or None for this project's.

    Raises:
        NotRunningError: None is named, and the project's does not run.
        ServiceApiError: It does not answer.
    """
    url = prometheus or find_prometheus(session)
    objectives = build_objectives(session.config)
    seconds = since_seconds if since_seconds is not None else round(parse_duration_seconds(objectives.window))
    with httpx2.Client(trust_env=False) as http:
        api = PrometheusApi(http, url, timeout_seconds=_TIMEOUT_SECONDS)
        # By its own clock: this machine's may differ.
        (now,) = api.query("time()")
        report = build_report(
            session.project, api, leave_out_login(url), Window(float(int(now.value)), seconds), objectives
        )
    # Another Prometheus counted another engine.
    return replace(report, bench=find_last_bench(session)) if prometheus is None else report


def build_report(project: str, api: PrometheusApi, url: str, window: Window, objectives: Objectives) -> SloReport:
    """Ask a Prometheus and judge what it says.

    Raises:
        ServiceApiError: It does not answer.
    """
    coverage = fetch_coverage(api, window)
    counts = fetch_counts(api, window, coverage, objectives.latencies)
    parts = judge(counts, objectives)
    notes = (*_note_coverage(window, coverage), *_note_parts(parts, objectives), *_note_shared(counts))
    return SloReport(project, url, window, coverage, objectives, parts, tuple(dict.fromkeys(notes)))


def find_prometheus(session: Session) -> str:
    """Give the URL of the project's Prometheus.

    Raises:
        NotRunningError: It does not run.
    """
    services = read_status(session).services
    url = next((one.url for one in services if one.name == SERVICE and one.state == "running"), None)
    if url is None:
        raise NotRunningError(SERVICE, session.project, hint="`stack up` starts it; --prometheus URL asks another")
    return url


def _note_coverage(window: Window, coverage: Coverage) -> Iterator[str]:
    if coverage.begins is None or coverage.ends is None:
        yield "Prometheus has no sample of an engine in this window"
    else:
        if coverage.begins > window.begin + _EDGE_SECONDS:
            there = describe_span(window.end - coverage.begins)
            yield f"data begins at {describe_time(coverage.begins)}: {there} of {describe_span(window.seconds)}"
        if coverage.ends < window.end - _EDGE_SECONDS:
            yield f"data ends at {describe_time(coverage.ends)}: no engine was seen since then"
        gaps = coverage.ends - coverage.begins - coverage.seen_seconds
        if gaps > _EDGE_SECONDS + 2 * coverage.step_seconds:
            yield f"no engine was seen for {describe_span(gaps)} in between; what it was asked then, nobody counted"
    kept = _read_retention(coverage.retention)
    if kept is not None and window.seconds > kept:
        yield f"the window is longer than Prometheus keeps samples ({coverage.retention})"


def _read_retention(text: str | None) -> float | None:
    # `15d`, `15d or 10GiB`, or a size alone.
    for word in (text or "").split(" or "):
        try:
            return parse_duration_seconds(word)
        except ValueError:
            continue
    return None


def _note_parts(parts: tuple[Part, ...], objectives: Objectives) -> Iterator[str]:
    outcomes = [outcome for part in parts for outcome in part.outcomes]
    if any(outcome.verdict == "few" for outcome in outcomes):
        least = objectives.minimum_requests
        yield f"fewer than {least} requests say little: neither this report nor an alert judges by them"
    for outcome in outcomes:
        if outcome.note is not None:
            yield f"{outcome.name}: {outcome.note}"


def _note_shared(counts: Counts) -> Iterator[str]:
    for (_, instance), count in find_shared_engines(counts).items():
        if count > 0:
            yield (
                f"{instance} served several models in this window: its {count:,.0f} answers with a status of 5xx "
                "count for all models together only"
            )
