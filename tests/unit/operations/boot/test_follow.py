"""A boot that `up` waits for: what alerts are told meanwhile, and what is left of it however it ends."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from stack.errors import NotReadyError
from stack.history.records import BootStart
from stack.history.store import open_history
from stack.operations.boot import follow
from stack.operations.boot.first_token import Boot
from stack.operations.boot.follow import follow_boot
from stack.telemetry.exposition import parse_exposition
from stack.telemetry.run_metrics import BOOT_FILE_NAME
from tests.unit.operations.conftest import STARTED

NOW = 1_800_000_000.0


class Watch:
    def __init__(self, *arguments):
        pass

    def look(self):
        pass

    def close(self):
        pass

    def elapsed_seconds(self):
        return 4.0


@pytest.fixture
def boot(make_session, make_state, monkeypatch):
    """A function: a boot whose wait ends like this; gives the session, and what alerts were told meanwhile."""

    def start(up, state, started, **more):
        return BootStart("k", started, "c" * 40, "claimed", "0.32.0", None, "sha256:e", "acme/tiny", "r", "cpu")

    for name in ("BootWatch", "SlowPhaseWatch", "ActivityProbe"):
        monkeypatch.setattr(follow, name, Watch)
    monkeypatch.setattr(follow, "build_start", start)
    monkeypatch.setattr(follow, "read_host", lambda session, up: {})
    monkeypatch.setattr(follow.time, "time", lambda: NOW)

    def run(end):
        session = make_session("[engine]\nready-timeout-seconds = 600\n")
        session.paths.metrics.mkdir(parents=True)
        open_history(session.paths.history)
        told = []

        def wait(*arguments):
            told.append((session.paths.metrics / BOOT_FILE_NAME).read_text())
            if isinstance(end, BaseException):
                raise end
            return end, 0.0

        monkeypatch.setattr(follow, "_wait", wait)
        up = SimpleNamespace(lock_text=None, resolved=SimpleNamespace(device=SimpleNamespace(gpus=())))
        state = make_state("engine", started_at=STARTED)
        with pytest.raises(type(end)) if isinstance(end, BaseException) else nullcontext():
            follow_boot(session, up, state)
        return session, told[0]

    return run


def is_under_way(session):
    return (session.paths.metrics / BOOT_FILE_NAME).is_file()


def test_alerts_are_told_until_when_the_boot_may_take_and_that_it_is_over(boot):
    session, told = boot(Boot((), 5.0, "warm", 0.1))
    (sample,) = parse_exposition(told).select("stack_boot_deadline_timestamp_seconds")
    assert sample.value == NOW + 600
    assert not is_under_way(session)


def test_a_boot_that_failed_is_not_under_way_any_more(boot):
    session, _ = boot(NotReadyError("engine", 600, "load", "no token", hint="stack logs engine"))
    assert not is_under_way(session)


def test_a_boot_that_nobody_waits_for_any_more_goes_on_until_its_deadline(boot):
    session, _ = boot(KeyboardInterrupt())
    assert is_under_way(session)
