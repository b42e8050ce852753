"""What is told of a slow phase, on a boot that a list of phases stands for."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest

from stack.containers.activity import Activity
from stack.errors import CommandError
from stack.history.records import BootRecord, BootStart
from stack.operations.boot.slow_phase import SlowPhaseWatch

WAIT_SECONDS = 30
START = BootStart("k", datetime(2026, 3, 4, tzinfo=UTC), None, "unknown", None, None, "sha256:1", "m", None, "cpu")
EARLIER = [BootRecord(1, START, "none", 3.0, "ready", {"load": 1.0})]
READING = Activity(cpus=0.12, reads=85e6, writes=0.0, network=0.0)
IDLE = Activity(cpus=0.01, reads=0.0, writes=0.0, network=0.0)


class FakeBoot:
    """Is in `load`, and each look finds it a second later."""

    def __init__(self, seconds=0.0):
        self.seconds = seconds
        self.ended = False

    def read_phase(self):
        self.seconds += 1
        return "load", self.seconds

    def read_cache_state(self):
        return "none"

    def has_ended(self):
        return self.ended


def refuse():
    raise CommandError(["docker"], 1)


def test_a_slow_phase_is_told_with_what_the_engine_does(said):
    watch = SlowPhaseWatch(FakeBoot(), EARLIER, lambda: READING, said.append)
    for _ in range(15):
        watch.tick()
    assert said == [
        "load takes longer than before (11 s; 1.0 s the last time): the engine reads from disk (85 MB/s), CPU 12 %"
    ]


def test_whoever_sees_an_engine_that_waits_is_sent_to_its_log(said):
    watch = SlowPhaseWatch(FakeBoot(), EARLIER, lambda: IDLE, said.append)
    assert watch.describe() == (
        "the engine waits (no CPU, disk or network use); `stack logs engine` shows what it said last"
    )


def test_a_daemon_that_does_not_tell_ends_nothing(said):
    watch = SlowPhaseWatch(FakeBoot(20.0), EARLIER, refuse, said.append)
    watch.tick()
    watch.tick()
    assert said == ["load takes longer than before (22 s; 1.0 s the last time): what the engine does cannot be told"]
    assert watch.describe() is None


def test_a_container_that_ended_is_not_called_slow(said):
    boot = FakeBoot(20.0)
    watch = SlowPhaseWatch(boot, EARLIER, lambda: READING, said.append)
    boot.ended = True
    for _ in range(5):
        watch.tick()
    assert said == []


def test_a_boot_that_ends_while_it_is_looked_at_is_not_called_slow(said):
    boot = FakeBoot(20.0)

    def look():
        boot.ended = True
        return READING

    watch = SlowPhaseWatch(boot, EARLIER, look, said.append)
    watch.tick()
    watch.tick()
    assert said == []


@pytest.mark.parametrize("error", [None, CommandError(["docker"], 1)])
def test_it_looks_from_a_thread_of_its_own_until_the_wait_is_over(error):
    told = threading.Event()
    watch = SlowPhaseWatch(FakeBoot(20.0), EARLIER, lambda: READING, lambda text: told.set(), every_seconds=0.001)
    try:
        with watch:
            assert told.wait(WAIT_SECONDS)
            if error is not None:
                raise error
    except CommandError as err:
        assert err is error
    watch._thread.join(WAIT_SECONDS)
    assert not watch._thread.is_alive()
