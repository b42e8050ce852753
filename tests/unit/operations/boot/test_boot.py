"""Waiting for a first token: a watch and an engine that follow a script stand for the real ones."""

from __future__ import annotations

import datetime
import threading
from types import SimpleNamespace

import pytest

from stack.containers.log_records import RawLine
from stack.errors import NotReadyError, ServiceApiError, ServiceExitedError
from stack.operations.boot import watch as module
from stack.operations.boot.first_token import wait_first_token
from stack.operations.boot.watch import BootWatch, find_milestone

WAIT_SECONDS = 30
STARTED = datetime.datetime(2026, 11, 21, 22, 0, tzinfo=datetime.UTC)


class FakeDaemon:
    """One container: its log comes from a list, and it ends when it is told to."""

    def __init__(self, lines=()):
        self.api = self
        self._lines = list(lines)
        self.end = threading.Event()
        self.log_told = threading.Event()
        self.status = 1
        self.was_oom_killed = False

    def wait(self, container_id, timeout):
        self.end.wait(WAIT_SECONDS)
        return {"StatusCode": self.status}

    def inspect_container(self, container_id):
        return {"State": {"OOMKilled": self.was_oom_killed}}

    def stream(self, client, container_id, *, follow, since):
        for number, line in enumerate(self._lines):
            yield RawLine(line, STARTED + datetime.timedelta(seconds=number))
        self.log_told.set()
        self.end.wait(WAIT_SECONDS)


class FakeEngine:
    """Listens after so many asks, gives a token after so many more."""

    def __init__(self, listens_after=0, token_after=0, status=200):
        self._listens_after, self._token_after, self._status = listens_after, token_after, status
        self.longest_wait_seconds = 0.0

    def fetch_raw(self, method, path, *, timeout_seconds):
        if self._listens_after > 0:
            self._listens_after -= 1
            raise ServiceApiError("engine", "http://x", "connection refused")
        return SimpleNamespace(status_code=self._status)

    def probe_first_token(self, *, is_pooling, timeout_seconds):
        self.longest_wait_seconds = max(self.longest_wait_seconds, timeout_seconds)
        if self._token_after > 0:
            self._token_after -= 1
            return SimpleNamespace(seconds=None, reason="503 loading")
        return SimpleNamespace(seconds=0.25, reason=None)


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def watch(make_state, tmp_path, events, monkeypatch):
    """A function: a boot whose container says these lines; it gives the watch and the container."""
    daemons = []

    def start(*lines):
        daemon = FakeDaemon(lines)
        daemons.append(daemon)
        monkeypatch.setattr(module, "stream_lines", daemon.stream)
        watch = BootWatch(lambda: daemon, make_state(started_at=STARTED), tmp_path / "boots/1.log", events.append)
        assert daemon.log_told.wait(WAIT_SECONDS)
        return watch, daemon

    yield start
    for daemon in daemons:
        daemon.end.set()


def wait(watch, engine, clock=None, timeout_seconds=600):
    clock = clock or Clock()
    return wait_first_token(watch, engine, timeout_seconds=timeout_seconds, clock=clock, sleep=clock.sleep)


def test_readiness_is_a_token_and_not_an_open_port(watch):
    found, _ = watch("INFO 11-21 22:00:00 [x.py:1] Starting to load model /models/m...")
    clock = Clock()
    boot = wait(found, FakeEngine(listens_after=3, token_after=2), clock)
    assert boot.first_token_seconds == 0.25
    assert [phase.name for phase in boot.phases] == ["start", "load", "server", "first-token"]
    assert clock.now == pytest.approx(5 * 0.25)


def test_phases_are_told_as_they_come_and_the_log_is_kept(watch, events, tmp_path):
    watch(
        "INFO 11-21 22:00:00 [x.py:1] Resolved architecture: LlamaForCausalLM",
        "INFO 11-21 22:00:00 [x.py:1] Starting to load model /models/m...",
        "Loading safetensors checkpoint shards:  50% Completed | 1/2",
    )
    texts = [event.text for event in events]
    assert "start: Resolved architecture: LlamaForCausalLM" in texts
    assert "load (start took 1.0 s)" in texts
    assert "load 50 %" in texts
    kept = (tmp_path / "boots/1.log").read_text()
    assert [line.partition(" ")[0] for line in kept.splitlines()] == [
        "2026-11-21T22:00:00.000000Z", "2026-11-21T22:00:01.000000Z", "2026-11-21T22:00:02.000000Z",
    ]  # fmt: skip


def test_a_container_that_ended_is_told_with_its_first_cause_and_last_lines(watch):
    found, daemon = watch("RuntimeError: the flux capacitor is empty", "EngineCore failed to start.")
    daemon.end.set()
    assert found._exit.ended.wait(WAIT_SECONDS)
    with pytest.raises(ServiceExitedError) as caught:
        wait(found, FakeEngine(listens_after=99))
    err = caught.value
    assert "RuntimeError: the flux capacitor is empty" in err.message
    assert err.log_tail.splitlines() == [
        "RuntimeError: the flux capacitor is empty", "EngineCore failed to start.", "engine exited with code 1",
    ]  # fmt: skip
    assert err.exit_code == 5
    assert err.hint


def test_a_container_that_ended_without_a_word_is_told_with_its_status(watch):
    found, daemon = watch()
    daemon.status = 3
    daemon.end.set()
    assert found._exit.ended.wait(WAIT_SECONDS)
    with pytest.raises(ServiceExitedError, match="exit status 3"):
        wait(found, FakeEngine(listens_after=99))


def test_a_known_failure_is_told_with_its_cause_and_what_to_do_instead_of_its_log(watch):
    found, daemon = watch("vllm serve: error: unrecognized arguments: --max-modle-len 2048")
    daemon.end.set()
    assert found._exit.ended.wait(WAIT_SECONDS)
    with pytest.raises(ServiceExitedError) as caught:
        wait(found, FakeEngine(listens_after=99))
    err = caught.value
    assert err.message.endswith("s: `vllm serve` of this version has no flag `--max-modle-len`")
    assert err.hint.startswith("write `max-model-len` instead of `max-modle-len` in [engine.args]")
    assert err.log_tail == ""


def test_an_engine_that_the_kernel_killed_for_memory_is_told_so_and_its_kept_log_tells_it_too(watch, tmp_path):
    found, daemon = watch("INFO 11-21 22:00:00 [x.py:1] Starting to load model /models/m...")
    daemon.status, daemon.was_oom_killed = 137, True
    daemon.end.set()
    assert found._exit.ended.wait(WAIT_SECONDS)
    with pytest.raises(ServiceExitedError, match="the kernel killed the engine because memory ran out"):
        wait(found, FakeEngine(listens_after=99))
    kept = (tmp_path / "boots/1.log").read_text().splitlines()
    assert kept[-1] == "engine exited with code 137 (OOMKilled: true)"


def test_an_engine_that_is_late_is_told_with_what_its_log_tells(watch):
    found, _ = watch("INFO 11-21 22:00:00 [pynccl.py:103] vLLM is using nccl==2.27.3")
    with pytest.raises(NotReadyError) as caught:
        wait(found, FakeEngine(listens_after=10**6), timeout_seconds=10)
    assert "NCCL_P2P_DISABLE" in caught.value.hint
    assert "ready-timeout-seconds" in caught.value.hint


@pytest.mark.parametrize(
    ("engine", "phase", "said"),
    [
        (FakeEngine(listens_after=10**6), "load", "engine at http://x: connection refused"),
        (FakeEngine(status=503), "load", "HTTP 503 on /health"),
        (FakeEngine(token_after=10**6), "first-token", "503 loading"),
    ],
)
def test_an_engine_that_takes_too_long_is_told_with_its_phase_and_last_answer(watch, engine, phase, said):
    found, _ = watch("INFO 11-21 22:00:00 [x.py:1] Starting to load model /models/m...")
    with pytest.raises(NotReadyError) as caught:
        wait(found, engine, timeout_seconds=10)
    assert (caught.value.state, caught.value.last_probe) == (f"running, in phase `{phase}`", said)
    assert not isinstance(caught.value, ServiceExitedError)
    assert "ready-timeout-seconds" in caught.value.hint
    assert engine.longest_wait_seconds <= 10


def test_an_engine_that_takes_too_long_is_told_with_what_it_does(watch):
    found, _ = watch("INFO 11-21 22:00:00 [x.py:1] Starting to load model /models/m...")
    clock = Clock()
    with pytest.raises(NotReadyError, match=r"in phase `load`, the engine reads from disk \(85 MB/s\), CPU 12 %;"):
        wait_first_token(
            found,
            FakeEngine(listens_after=10**6),
            timeout_seconds=10,
            describe_activity=lambda: "the engine reads from disk (85 MB/s), CPU 12 %",
            clock=clock,
            sleep=clock.sleep,
        )


def test_a_phase_lasts_from_its_first_line_and_no_longer_than_it_was_watched(watch, monkeypatch):
    found, _ = watch("INFO 11-21 22:00:00 [x.py:1] Starting", "Starting to load model /m...")
    monkeypatch.setattr(found, "_watched_from_seconds", 0.0)
    monkeypatch.setattr(found, "elapsed_seconds", lambda: 31.0)
    assert found.read_phase() == ("load", 30.0)
    monkeypatch.setattr(found, "_watched_from_seconds", 11.0)
    assert found.read_phase() == ("load", 20.0)
    found.note_server_ready()
    monkeypatch.setattr(found, "elapsed_seconds", lambda: 38.0)
    assert found.read_phase() == ("first-token", 7.0)


@pytest.mark.fault(
    "the clock is set back while the engine boots",
    "no time in the boot's record is negative, and the boot is not given up before its time",
)
def test_a_clock_that_is_set_back_makes_no_time_negative(make_state, tmp_path, events, monkeypatch):
    daemon = FakeDaemon()
    stamps = [0, 2, -3600, -3590]
    lines = ["INFO Starting", "Starting to load model /m...", "Available KV cache memory: 1 GiB", "Graph capturing"]

    def stream(client, container_id, *, follow, since):
        yield from (
            RawLine(line, STARTED + datetime.timedelta(seconds=at)) for at, line in zip(stamps, lines, strict=True)
        )
        daemon.log_told.set()
        daemon.end.wait(WAIT_SECONDS)

    monkeypatch.setattr(module, "stream_lines", stream)
    clock = Clock()
    behind = STARTED - datetime.timedelta(hours=1)
    watch = BootWatch(
        lambda: daemon, make_state(started_at=STARTED), tmp_path / "1.log", events.append, now=lambda: behind,
        clock=clock,
    )  # fmt: skip
    assert daemon.log_told.wait(WAIT_SECONDS)
    assert watch.elapsed_seconds() == 0.0
    clock.sleep(12.5)
    assert watch.elapsed_seconds() == 12.5
    try:
        boot = wait(watch, FakeEngine(listens_after=3), clock)
    finally:
        daemon.end.set()
    assert boot.total_seconds > 12.5
    assert all(phase.seconds >= 0 for phase in boot.phases)
    assert watch.read_phase()[1] >= 0


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("(APIServer pid=8) INFO 11-21 22:04:30 [model.py:733] Resolved architecture: LlamaForCausalLM",
         "Resolved architecture: LlamaForCausalLM"),
        ("(EngineCore pid=2) INFO 11-21 22:04:43 [core.py:133] Initializing a V1 LLM engine (v0.31.0) with config: m",
         "Initializing a V1 LLM engine (v0.31.0)"),
        ("INFO 11-21 22:04:30 [x.py:1] Enabled custom fusions: norm_quant", None),
    ],
)  # fmt: skip
def test_of_the_long_start_only_milestones_are_told(line, said):
    assert find_milestone(line) == said
