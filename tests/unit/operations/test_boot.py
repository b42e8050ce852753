"""A watched boot: phases, readiness, the end; on a daemon and an engine that answer from a script."""

from __future__ import annotations

import datetime
import threading
from pathlib import Path

import docker.errors
import pytest

from stack.containers.daemon import ServiceState
from stack.errors import NotReadyError, ServiceApiError, ServiceExitedError
from stack.operations.boot import BootWatch, wait_first_token
from stack.traffic.engine_client import FirstToken
from stack.traffic.engine_http import RawAnswer

WAIT_SECONDS = 10
NEVER = 10**12
LINES = (
    (1.0, "(EngineCore pid=7) INFO 11-21 20:33:21 [x.py:1] Starting to load model demo..."),
    (4.0, "(EngineCore pid=7) INFO 11-21 20:33:24 [x.py:2] CPU KV cache size: 1,024 tokens"),
    (5.0, "(APIServer pid=1) INFO 11-21 20:33:25 [x.py:3] Starting vLLM server on http://0.0.0.0:8000"),
    (6.0, "INFO:     Application startup complete."),
)


class Daemon:
    """A daemon with one container that was started some seconds ago and has said these lines since."""

    def __init__(self, started_ago: float, lines=LINES, failure: Exception | None = None) -> None:
        self.started_at = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=started_ago)
        self.closed = 0
        self.end = threading.Event()
        self.status = 1
        self._lines = lines
        self._failure = failure
        self.containers = self.api = self

    def connect(self) -> Daemon:
        return self

    def close(self) -> None:
        self.closed += 1

    def get(self, container_id: str) -> Daemon:
        return self

    def wait(self, container_id: str, timeout: object) -> dict[str, int]:
        self.end.wait()
        return {"StatusCode": self.status}

    def logs(self, **options: object):
        for at_seconds, line in self._lines:
            moment = self.started_at + datetime.timedelta(seconds=at_seconds)
            yield f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z {line}\n".encode()
        if self._failure is not None:
            raise self._failure
        self.end.wait()

    def state(self) -> ServiceState:
        return ServiceState(
            "engine", "abc", "running", None, 0, 0, self.started_at, "sha256:1", "image", "hash", "", False
        )


class Engine:
    """An engine that answers from the nth probe on."""

    def __init__(self, ready_after: int = 0) -> None:
        self.probes = 0
        self._ready_after = ready_after

    def fetch_raw(self, method: str, path: str, **options: object) -> RawAnswer:
        self.probes += 1
        if self.probes <= self._ready_after:
            raise ServiceApiError("engine", path, "nothing listens there")
        return RawAnswer(200, "")

    def probe_first_token(self, **options: object) -> FirstToken:
        return FirstToken(0.25)


@pytest.fixture
def make_watch(tmp_path: Path, events: list):
    """A function: a daemon gives a watch of its engine; all are closed at the end."""
    made = []

    def make(daemon: Daemon) -> BootWatch:
        watch = BootWatch(daemon.connect, daemon.state(), tmp_path / "boots" / "boot.log", events.append)
        made.append((daemon, watch))
        return watch

    yield make
    for daemon, watch in made:
        watch.close()
        daemon.end.set()
        watch._thread.join(WAIT_SECONDS)


def wait(watch: BootWatch, engine: Engine, clock=lambda: 0.0):
    return wait_first_token(watch, engine, timeout_seconds=100, clock=clock, sleep=lambda _: None)


def test_an_engine_that_served_before_anybody_watched_is_timed_by_its_log(make_watch):
    # As after a reboot: Docker started it three hours ago, and it was ready six seconds later.
    boot = wait(make_watch(Daemon(started_ago=3 * 3600)), Engine())
    assert boot.total_seconds == pytest.approx(6.25)
    phases = {phase.name: phase.seconds for phase in boot.phases}
    assert phases == pytest.approx({"start": 1.0, "load": 3.0, "kv-cache": 1.0, "server": 1.0, "first-token": 0.25})


def test_an_engine_that_becomes_ready_under_our_eyes_is_timed_by_the_clock(make_watch):
    daemon = Daemon(started_ago=0, lines=((30.0, LINES[3][1]),))
    boot = wait(make_watch(daemon), Engine(ready_after=3))
    assert boot.total_seconds < 30
    assert [phase.name for phase in boot.phases] == ["start", "server", "first-token"]


def test_the_log_of_a_boot_is_kept_once_however_often_it_is_watched(make_watch, tmp_path):
    daemon = Daemon(started_ago=60)
    for _ in range(2):
        wait(make_watch(daemon), Engine())
    kept = (tmp_path / "boots" / "boot.log").read_text().splitlines()
    assert kept == [line for _, line in LINES]


def test_an_engine_that_ends_is_told_with_its_first_cause(make_watch):
    lines = (*LINES[:1], (2.0, "ValueError: no available memory for the cache blocks"))
    daemon = Daemon(started_ago=5, lines=lines)
    watch = make_watch(daemon)
    daemon.end.set()
    with pytest.raises(ServiceExitedError, match="no available memory for the cache blocks"):
        wait(watch, Engine(ready_after=NEVER))
    assert watch.exit_status == 1


def test_an_engine_whose_container_was_removed_is_told_so(make_watch):
    daemon = Daemon(started_ago=5, lines=LINES[:1])

    def vanish(container_id: str, timeout: object) -> dict[str, int]:
        raise docker.errors.NotFound("No such container")

    daemon.wait = vanish
    daemon.end.set()
    with pytest.raises(ServiceExitedError, match="its container was removed"):
        wait(make_watch(daemon), Engine(ready_after=NEVER))


def test_a_log_that_cannot_be_followed_does_not_hide_a_ready_engine(make_watch):
    failure = docker.errors.APIError("configured logging driver does not support reading")
    boot = wait(make_watch(Daemon(started_ago=0, lines=LINES[:1], failure=failure)), Engine())
    assert boot.first_token_seconds == 0.25


def test_time_that_runs_out_is_told_with_the_phase_and_the_last_lines(make_watch):
    daemon = Daemon(started_ago=60, lines=LINES[:2])
    watch = make_watch(daemon)
    ticks = iter(range(1000))
    with pytest.raises(NotReadyError) as caught:
        wait(watch, Engine(ready_after=NEVER), clock=lambda: float(next(ticks)))
    assert not isinstance(caught.value, ServiceExitedError)
    assert "engine.ready-timeout-seconds" in caught.value.hint
    assert caught.value.last_probe == "connection refused"


def test_both_connections_are_let_go_of(make_watch):
    daemon = Daemon(started_ago=60)
    watch = make_watch(daemon)
    wait(watch, Engine())
    watch.close()
    assert daemon.closed == 2
