"""A real Prometheus with some hours of backfilled samples: the report's numbers are those counted by hand."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from stack.config.load import load_config
from stack.operations.slo.objectives import build_objectives
from stack.operations.slo.report import SloReport, build_report
from stack.telemetry.prometheus_api import PrometheusApi
from stack.telemetry.slo_coverage import Window
from stack.telemetry.slo_judge import Outcome, Part
from tests.assets.test_prometheus_live import PATIENCE_SECONDS, find_free_port, running_prometheus

HOUR = 3600
INTERVAL = 15
# A count is extrapolated by half a scrape at each end of its samples.
NEARLY = 0.005
END = float(int(time.time()) // 60 * 60)
BEGIN = END - 2 * HOUR - 600
"""Where data begins: the first ten minutes and the last hour are without traffic."""
TRAFFIC = (BEGIN + 600, BEGIN + 600 + HOUR)


@dataclass
class Backfill:
    """Series of counters that grow evenly while there is traffic, in OpenMetrics' text."""

    lines: list[str] = field(default_factory=list)

    def grow(
        self,
        name: str,
        labels: str,
        total: float,
        *,
        first: float = 0,
        reset_at: float = math.inf,
        born_at: float = 0,
        until: float = math.inf,
        steps: int = 4,
    ) -> None:
        """Add a counter that grows by `total` in so many steps; a restart in between takes it back to nothing."""
        labels = labels.replace(", ", ",")
        begin, end = TRAFFIC
        at, base = BEGIN, 0.0
        while at <= END:
            share = int(min(max((at - begin) / (end - begin), 0), 1) * steps) / steps
            if at >= reset_at and not base:
                base = share * total
            if born_at <= at <= until:
                self.lines.append(f"{name}{{{labels}}} {first + share * total - base:g} {at:.0f}")
            at += INTERVAL

    def write(self, path: Path) -> None:
        path.write_text("\n".join([*self.lines, "# EOF\n"]))


def add_engine(fill: Backfill, instance: str, model: str, engine: str, counts: dict[str, float], bound: str) -> None:
    """Add an engine with its outcomes, latencies and tokens."""
    at = f'job="vllm", instance="{instance}"'
    labels = f'{at}, model_name="{model}", engine="{engine}"'
    restart = TRAFFIC[0] + HOUR / 2 + 100
    fill.grow("vllm:num_requests_running", labels, 0)
    for reason in ("stop", "error", "abort"):
        more = f'{labels}, finished_reason="{reason}"'
        fill.grow("vllm:request_success_total", more, counts.get(reason, 0), reset_at=restart)
    for kind in ("prompt", "generation"):
        fill.grow(f"vllm:{kind}_tokens_total", labels, counts.get(kind, 0), reset_at=restart, steps=HOUR // INTERVAL)
    bounds = {"time_to_first_token": "2.5", "inter_token_latency": "0.2", "e2e_request_latency": bound}
    for metric, le in bounds.items():
        name = f"vllm:{metric}_seconds"
        fill.grow(f"{name}_bucket", f'{labels}, le="{le}"', counts.get(f"{metric} fast", 0), reset_at=restart)
        fill.grow(f"{name}_count", labels, counts.get(metric, 0), reset_at=restart)
    # Of the API server, whichever engine is behind it.
    if engine == "0":
        fill.grow("http_requests_total", f'{at}, handler="/v1/completions", status="5xx"', counts.get("5xx", 0))


BUSY = {
    "stop": 400, "error": 8, "abort": 20, "5xx": 4, "prompt": 36_000, "generation": 7200,
    "time_to_first_token": 408, "time_to_first_token fast": 400,
    "inter_token_latency": 4000, "inter_token_latency fast": 3000,
    "e2e_request_latency": 408, "e2e_request_latency fast": 408,
}  # fmt: skip
FEW = {"stop": 4, "e2e_request_latency": 4, "e2e_request_latency fast": 4, "time_to_first_token": 4}


def build_backfill() -> Backfill:
    """Give the samples of three engines' models: a busy one, one with few requests and an idle one."""
    fill = Backfill()
    add_engine(fill, "one", "busy", "0", BUSY, "60.0")
    add_engine(fill, "two", "few", "0", FEW, "60")
    add_engine(fill, "two", "few", "1", FEW, "60")
    add_engine(fill, "three", "idle", "0", {}, "30.0")
    # The series is born with its first answers: three and later six, of which increase() sees the later three alone.
    born = 'job="vllm", instance="two", handler="/v1/models", status="5xx"'
    fill.grow("http_requests_total", born, 6, steps=2, born_at=TRAFFIC[0] + HOUR / 2)
    # Another service with a metric of the same name must not count.
    fill.grow("http_requests_total", 'job="shop", instance="shop", status="5xx"', 1000)
    # What was counted before data begins is nobody's knowledge.
    fill.grow("http_requests_total", 'job="vllm", instance="one", handler="/old", status="5xx"', 0, first=50)
    gone = 'job="vllm", instance="one", handler="/gone", status="5xx"'
    fill.grow("http_requests_total", gone, 0, first=50, until=TRAFFIC[0])
    late = 'job="vllm", instance="four"'
    fill.grow("vllm:num_requests_running", f'{late}, model_name="late", engine="0"', 0, born_at=BEGIN + 1000)
    fill.grow("http_requests_total", f'{late}, handler="/old", status="5xx"', 0, first=50, born_at=BEGIN + 1000)
    return fill


@pytest.fixture(scope="module")
def api(tmp_path_factory) -> Iterator[PrometheusApi]:
    if shutil.which("prometheus") is None or shutil.which("promtool") is None:
        how = "prometheus is missing: apt-get install prometheus"
        if "docker" in os.environ.get("STACK_REQUIRE", ""):
            pytest.fail(how)
        pytest.skip(how)
    folder, fill = tmp_path_factory.mktemp("slo"), build_backfill()
    fill.write(folder / "samples")
    (folder / "prometheus.yaml").write_text("")
    argv = ["promtool", "tsdb", "create-blocks-from", "openmetrics", folder / "samples", folder / "data"]
    subprocess.run(argv, check=True, capture_output=True)
    own = f"127.0.0.1:{find_free_port()}"
    with httpx2.Client(trust_env=False) as client, running_prometheus(folder / "prometheus.yaml", own, folder / "log"):
        api, deadline = PrometheusApi(client, f"http://{own}"), time.monotonic() + PATIENCE_SECONDS
        while not api.is_ready():
            if time.monotonic() > deadline:
                pytest.fail((folder / "log").read_text())
            time.sleep(0.2)
        yield api


@pytest.fixture(scope="module")
def report(api) -> SloReport:
    return make_report(api, 7 * 86_400)


def make_report(api: PrometheusApi, seconds: int, end: float = END) -> SloReport:
    objectives = build_objectives(load_config(None, {}, {}).config)
    return build_report("p", api, "http://p", Window(end, seconds), objectives)


def find_part(report: SloReport, model: str | None) -> Part:
    return next(part for part in report.parts if part.model == model)


def find_outcome(report: SloReport, model: str | None, name: str) -> Outcome:
    return next(outcome for outcome in find_part(report, model).outcomes if outcome.name == name)


def nearly(value: float) -> object:
    return pytest.approx(value, rel=NEARLY)


def test_all_models_come_together_and_each_by_itself(report):
    assert [part.model for part in report.parts] == [None, "busy", "few", "idle", "late"]
    assert report.is_kept is False


def test_availability_counts_errors_and_answers_5xx_but_no_aborts_over_a_restart(report):
    outcome = find_outcome(report, "busy", "availability")
    assert (outcome.events, outcome.bad) == (nearly(408 + 4), nearly(8 + 4))
    assert outcome.share == pytest.approx(400 / 412, abs=0.0005)
    assert outcome.budget_left == pytest.approx(1 - (12 / 412) / 0.01, abs=0.02)
    assert outcome.verdict == "missed"
    traffic = find_part(report, "busy").traffic
    assert traffic.finished == {"stop": nearly(400), "error": nearly(8), "abort": nearly(20)}
    assert traffic.error_ratio == nearly(12 / 412)


@pytest.mark.parametrize(
    ("name", "events", "bad", "target", "verdict"),
    [("ttft", 408, 8, 0.95, "kept"), ("itl", 4000, 1000, 0.95, "missed"), ("e2e", 408, 0, 0.95, "kept")],
)
def test_a_latency_is_the_share_of_its_bucket(report, name, events, bad, target, verdict):
    outcome = find_outcome(report, "busy", name)
    assert outcome.events == nearly(events)
    assert outcome.bad == pytest.approx(bad, rel=NEARLY, abs=0.01)
    assert outcome.budget_left == pytest.approx(1 - bad / events / (1 - target), abs=0.01)
    assert outcome.verdict == verdict


def test_the_first_answers_5xx_of_an_engine_count_although_their_series_is_born_with_them(report):
    assert find_part(report, "few").traffic.refused == nearly(6)


def test_answers_from_before_an_engine_was_first_seen_do_not_count(report):
    assert find_part(report, "late").traffic.refused == 0


def test_the_engines_of_a_model_are_summed_and_a_bound_without_a_point_is_the_same_bound(report):
    outcome = find_outcome(report, "few", "e2e")
    assert (outcome.events, outcome.bad, outcome.verdict) == (nearly(8), 0, "few")
    assert any(note.startswith("fewer than 20 requests say little") for note in report.notes)


def test_a_model_without_requests_is_idle_neither_0_nor_100_percent(report):
    outcome = find_outcome(report, "idle", "availability")
    assert (outcome.share, outcome.budget_left, outcome.verdict) == (None, None, "idle")


def test_a_histogram_without_the_bound_is_told_with_the_bounds_that_it_has(report):
    outcome = find_outcome(report, "idle", "e2e")
    assert (outcome.share, outcome.verdict) == (None, "unknown")
    assert outcome.note == "the histogram of three has no bound at 60 s, only at 30"


def test_all_together_is_the_sum_without_other_services(report):
    outcome = find_outcome(report, None, "availability")
    assert (outcome.events, outcome.bad) == (nearly(412 + 8 + 6), nearly(12 + 6))


def test_throughput_is_over_the_data_and_over_the_time_with_traffic(report):
    traffic = find_part(report, "busy").traffic
    assert (traffic.prompt_tokens, traffic.generation_tokens) == (nearly(36_000), nearly(7200))
    assert traffic.busy_seconds == pytest.approx(HOUR, abs=3 * 60)
    assert find_part(report, None).traffic.busy_seconds == traffic.busy_seconds
    assert find_part(report, "idle").traffic.busy_seconds == 0
    assert report.told_seconds == END - BEGIN


def test_where_data_begins_is_told_to_the_sample(report):
    assert (report.coverage.begins, report.coverage.ends) == (BEGIN, END)
    assert report.coverage.interval_seconds == INTERVAL
    assert report.coverage.seen_seconds == pytest.approx(END - BEGIN, abs=60)
    assert report.notes[0].startswith("data begins at ")
    assert report.notes[0].endswith(": 2 h 10 min of 7 d")


def test_a_window_within_the_data_counts_its_own_requests_only(api):
    # Of the four steps, those after 30 and 45 minutes of traffic.
    report = make_report(api, HOUR // 2 - 120, TRAFFIC[0] + HOUR * 3 / 4 + 60)
    assert find_part(report, "busy").traffic.finished["stop"] == pytest.approx(200, rel=0.02)
    assert not [note for note in report.notes if note.startswith("data")]


def test_a_window_longer_than_the_retention_is_told(api):
    report = make_report(api, 30 * 86_400)
    assert "the window is longer than Prometheus keeps samples (15d)" in report.notes


def test_a_window_before_all_data_says_nothing(api):
    report = make_report(api, HOUR, BEGIN - HOUR)
    assert (report.parts, report.is_kept) == ((), None)
    assert report.notes == ("Prometheus has no sample of an engine in this window",)


def test_data_that_ended_before_the_window_did_is_told(api):
    report = make_report(api, 6 * HOUR, END + 2 * HOUR)
    assert report.notes[1].startswith("data ends at ")
