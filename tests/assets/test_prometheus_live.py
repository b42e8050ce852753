"""A real Prometheus scrapes a page of vLLM's metrics, and every rule and dashboard query is run in it."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest

from stack.assets import asset_path
from stack.telemetry.other_runs import StoredBench, StoredRun, render_other_runs
from stack.telemetry.prometheus_api import PrometheusApi, Rule
from stack.telemetry.run_metrics import BootRun, RunIdentity, SmokeRun, render_run_metrics
from stack.telemetry.scrape import render_prometheus_config, render_targets
from tests.fixtures.panels import Shown, find_dead, show_panels

CAPTURE = Path(__file__).resolve().parents[1] / "fixtures" / "metrics" / "vllm-0.31.0.txt"
NODE = CAPTURE.with_name("service-node-exporter-1.5.0.txt")
PHASES = {"load": 30.0, "server": 8.0, "first-token": 2.0}
RUN_METRICS = render_run_metrics(
    RunIdentity("a" * 40, "claimed", "0.32.0", "smollm2", "demo", "sha256:" + "b" * 64, "cpu"),
    [BootRun(1763750000 + day * 86400, 40, PHASES, True, "a" * 40, "0.32.0", "smollm2") for day in range(3)],
    SmokeRun(1763750050, 6, {"services": 1, "answers": 1, "grafana": -1}, {"default-1": 0.01}),
)
RUN_METRICS += render_other_runs(
    [
        StoredRun(
            kind, 1763750060 + place, True, "a" * 40, {("ttft", which): 0.2 for which in ("p50", "p95", "p99")}, bench
        )
        for place, (kind, bench) in enumerate(
            [("replay", None), ("bench", StoredBench("chat", "demo@257c3afa8888", 99.5))]
        )
    ]
)
EVERYTHING_BUT_TRAFFIC = {"boot", "smoke", "process-metrics", "compile-cache", "request", "baseline", "replay", "bench"}
PATIENCE_SECONDS = 60
# No board is here to be measured.
WITHOUT_GPU = ("gpu:", "instance:gpu_")
COUNTER = re.compile(r"^(\S+_(?:total|sum|count|bucket)(?:\{.*\})?) (\S+)$", re.MULTILINE)


def grow(page: str, scrapes: int) -> str:
    """Give the page as it is after so many times the traffic that it shows."""
    return COUNTER.sub(lambda match: f"{match[1]} {float(match[2]) * scrapes}", page)


class Engine(BaseHTTPRequestHandler):
    """Serves the capture at /metrics, with more traffic each time if busy, and the host's and run metrics at /run."""

    page = CAPTURE.read_text(encoding="utf-8")
    host = NODE.read_text(encoding="utf-8") + RUN_METRICS
    is_busy = True
    scrapes = 0

    def do_GET(self) -> None:
        kind, text = type(self), self.host
        if self.path == "/metrics":
            kind.scrapes += 1
            text = grow(self.page, kind.scrapes if self.is_busy else 1)
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@dataclass(frozen=True)
class Live:
    """A Prometheus that scrapes, and all that it logged is in `log`."""

    api: PrometheusApi
    log: Path

    def eventually(self, holds: Callable[[], bool], what: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not holds():
            if time.monotonic() > deadline:
                pytest.fail(f"{what()}\n{self.log.read_text()}")
            time.sleep(0.2)

    def run_panels(self) -> list[Shown]:
        return show_panels(self.api.query)

    def find_dead(self, happened: Collection[str] = frozenset(EVERYTHING_BUT_TRAFFIC)) -> list[str]:
        return [str(result) for result in find_dead(self.run_panels(), happened)]


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def write_config(folder: Path, engine: str, own: str) -> Path:
    """Write our config with every address replaced by one on this machine, and nothing else changed."""
    shutil.copytree(asset_path("prometheus"), folder)
    path = folder / "prometheus.yaml"
    text = render_prometheus_config(path.read_text(encoding="utf-8"), scrape_interval_seconds=1)
    path.write_text(text.replace("engine.metrics:8000", engine).replace("localhost:9090", own))
    (folder / "targets").mkdir()
    for name, targets in render_targets({"node-exporter"}).items():
        there = targets.replace("node-exporter.metrics:9100", engine)
        there = there.replace('"labels": {', '"labels": {"__metrics_path__": "/run", ')
        (folder / "targets" / name).write_text(there)
    return path


@contextmanager
def running_prometheus(config: Path, own: str, log: Path) -> Iterator[None]:
    argv = [
        str(shutil.which("prometheus")),
        f"--config.file={config}",
        f"--storage.tsdb.path={config.parent / 'data'}",
        f"--web.listen-address={own}",
        "--log.level=warn",
    ]
    with log.open("wb") as out, subprocess.Popen(argv, stdout=out, stderr=out) as process:
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=PATIENCE_SECONDS)


@pytest.fixture(scope="module", params=["busy", "idle"])
def live(request, tmp_path_factory) -> Iterator[Live]:
    if shutil.which("prometheus") is None:
        how = "prometheus is missing: apt-get install prometheus"
        if "docker" in os.environ.get("STACK_REQUIRE", ""):
            pytest.fail(how)
        pytest.skip(how)
    folder = tmp_path_factory.mktemp("live")
    handler = type("Scraped", (Engine,), {"is_busy": request.param == "busy"})
    own = f"127.0.0.1:{find_free_port()}"
    with serving(handler) as engine, httpx2.Client(trust_env=False) as client:
        config = write_config(folder / "prometheus", engine, own)
        with running_prometheus(config, own, folder / "log"):
            live = Live(PrometheusApi(client, f"http://{own}"), folder / "log")
            live.eventually(live.api.is_ready, lambda: "not ready")
            live.eventually(lambda: handler.scrapes >= 3, lambda: "not scraped three times")
            yield live


def test_every_service_of_the_stack_is_a_target_that_is_up_and_no_other_is_one(live):
    def jobs() -> dict[str, str]:
        return {target.job: target.health for target in live.api.fetch_targets()}

    live.eventually(lambda: jobs() == dict.fromkeys(("vllm", "node", "prometheus"), "up"), jobs)
    instances = {target.instance for target in live.api.fetch_targets()}
    assert instances == {"engine", "node-exporter", "prometheus"}


def fetch_prompt_rules(live: Live) -> list[Rule]:
    """Give the rules but those of groups that are judged once a minute."""
    return [rule for rule in live.api.fetch_rules() if rule.interval_seconds < 30]


def test_every_rule_is_healthy(live):
    live.eventually(
        lambda: {rule.health for rule in fetch_prompt_rules(live)} == {"ok"},
        lambda: [rule for rule in live.api.fetch_rules() if rule.health != "ok"],
    )
    assert [rule for rule in live.api.fetch_rules() if rule.health == "err"] == []


def test_no_alert_fires_or_is_pending_on_a_healthy_stack_but_that_it_was_not_tested_since_its_start(live):
    live.eventually(
        lambda: {rule.health for rule in fetch_prompt_rules(live)} == {"ok"},
        lambda: [rule for rule in live.api.fetch_rules() if rule.health != "ok"],
    )
    # The captured page is of an engine that started later than the smoke test of the made-up run.
    assert {alert.labels["alertname"] for alert in live.api.fetch_alerts()} <= {"StackSmokeStale"}


@pytest.mark.parametrize("live", ["busy"], indirect=True)
def test_every_recording_rule_records_something_once_there_is_traffic(live):
    def silent() -> list[str]:
        rules = [rule.name for rule in fetch_prompt_rules(live) if rule.kind == "recording"]
        return [name for name in rules if not name.startswith(WITHOUT_GPU) and not live.api.query(name)]

    live.eventually(lambda: not silent(), silent)


@pytest.mark.parametrize(
    ("live", "happened"),
    [("busy", EVERYTHING_BUT_TRAFFIC | {"traffic"}), ("idle", EVERYTHING_BUT_TRAFFIC)],
    indirect=["live"],
)
def test_every_panel_shows_what_it_should(live, happened):
    live.eventually(lambda: not live.find_dead(happened), lambda: live.find_dead(happened))


@pytest.mark.parametrize("live", ["idle"], indirect=True)
def test_without_traffic_latency_panels_are_empty(live):
    live.eventually(lambda: not live.find_dead(), live.find_dead)
    waiting = [result for result in live.run_panels() if result.waits_for == "traffic"]
    assert waiting
    assert [str(result) for result in waiting if result.series_count] == []


def test_no_panel_shows_nan(live):
    live.eventually(lambda: not live.find_dead(), live.find_dead)
    assert [str(result) for result in live.run_panels() if result.number_count < result.series_count] == []


def test_creation_times_are_not_stored(live):
    assert live.api.query('count({__name__=~".+_created", job="vllm"})') == ()
