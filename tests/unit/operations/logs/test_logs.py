"""`stack logs`: containers as they are and as they grow, and what is kept of an engine that is gone."""

from __future__ import annotations

import datetime
import os

import pytest

from stack.containers.log_records import RawLine
from stack.errors import CommandError, ConfigError, NotRunningError, StackError
from stack.history.records import BootStart
from stack.history.store import open_history
from stack.operations.logs import run as logs
from stack.operations.logs import sources as logs_sources
from stack.operations.logs.run import read_entries
from stack.operations.logs.select import LogQuery
from stack.operations.logs.sources import read_kept
from stack.operations.project import make_folders

NOON = datetime.datetime(2026, 11, 22, 12, tzinfo=datetime.UTC)


class Daemon:
    """Containers by their id, each with its lines; a followed one goes on with the lines that come later."""

    def __init__(self):
        self.lines = {}
        self.later = {}
        self.failure = None
        self.given = 0

    def close(self):
        pass

    def stream(self, client, container_id, *, follow, since=None, tail=None):
        if follow and self.failure is not None:
            raise self.failure
        whole = [*self.lines.get(container_id, []), *(self.later.get(container_id, []) if follow else [])]
        second = int(since.timestamp()) if since else 0
        for at, text in whole[-tail:] if tail else whole:
            if at.timestamp() >= second:
                self.given += 1
                yield RawLine(text, at)


@pytest.fixture
def daemon(monkeypatch):
    daemon = Daemon()
    monkeypatch.setattr(logs, "stream_lines", daemon.stream)
    monkeypatch.setattr(logs_sources, "check_tools", lambda session: daemon)
    return daemon


@pytest.fixture
def session(make_session, daemon):
    session = make_session(connect=lambda: daemon)
    make_folders(session.paths, os.geteuid())
    return session


@pytest.fixture
def run_on(monkeypatch):
    def call(*states):
        found = {state.name: state for state in states}
        monkeypatch.setattr(logs_sources, "read_services", lambda client, project: found)

    return call


def at(seconds, text):
    return NOON + datetime.timedelta(seconds=seconds), f"INFO:     {text}"


def read(session, *, follow=False, **query):
    entries = read_entries(session, LogQuery(**query), follow=follow)
    return [entry.line.raw.removeprefix("INFO:     ") for entry in entries]


def note_boot(session, seconds, container):
    """Give the path of the log of a boot that the history knows."""
    started = NOON + datetime.timedelta(seconds=seconds)
    path = session.paths.boots / f"{started:%Y%m%dT%H%M%SZ}-{container}.log"
    start = BootStart("k", started, None, "unknown", None, None, "i", "m", None, "cpu", log_path=str(path))
    open_history(session.paths.history).record_boot(start)
    return path


def test_the_log_of_a_service_that_runs(session, make_state, run_on, daemon):
    state = make_state()
    run_on(state)
    daemon.lines = {state.container_id: [at(0, "a"), at(1, "b"), at(2, "c")]}
    assert read(session) == ["a", "b", "c"]
    assert read(session, lines=2) == ["b", "c"]


@pytest.mark.parametrize(("lines", "shown"), [(None, "abcdef"), (2, "bcdef"), (1, "cdef")])
def test_a_followed_log_goes_on_after_its_last_lines_and_tells_none_twice(
    session, make_state, run_on, daemon, lines, shown
):
    state = make_state()
    run_on(state)
    # Several lines of the second in which the log ends so far, and one that came a moment too late.
    daemon.lines = {state.container_id: [at(0, "a"), at(1.5, "b"), at(1.2, "c")]}
    daemon.later = {state.container_id: [at(1.6, "d"), at(1.7, "e"), at(2, "f")]}
    assert "".join(read(session, follow=True, lines=lines)) == shown


def test_of_a_long_log_only_the_end_is_read(session, make_state, run_on, daemon):
    state = make_state()
    run_on(state)
    daemon.lines = {state.container_id: [at(number, str(number)) for number in range(50_000)]}
    daemon.later = {state.container_id: [at(49_999.5, "new")]}
    assert read(session, lines=2) == ["49998", "49999"]
    assert daemon.given < 3000
    daemon.given = 0
    assert read(session, lines=2, follow=True) == ["49998", "49999", "new"]
    assert daemon.given < 3000


def test_of_a_long_log_with_filters_only_the_time_that_is_asked_for_is_read(session, make_state, run_on, daemon):
    state = make_state()
    run_on(state)
    begun = at(46_000, "begun")
    rest = [(NOON + datetime.timedelta(seconds=46_000.5 + step), f"  of it {step}") for step in range(3)]
    daemon.lines = {state.container_id: [*(at(number, str(number)) for number in range(46_000)), begun, *rest]}
    daemon.later = {state.container_id: [at(46_010, "new")]}
    since = NOON + datetime.timedelta(seconds=46_001)
    # What continues an older record is none of it.
    assert read(session, since=since) == []
    assert read(session, since=since, follow=True) == ["new"]
    assert read(session, since=begun[0], lines=2) == ["  of it 1", "  of it 2"]
    assert daemon.given < 15_000
    assert len(read(session, since=datetime.datetime.min.replace(tzinfo=datetime.UTC))) == 46_004


def test_lines_that_are_chosen_by_level_are_looked_for_in_all_of_a_log(session, make_state, run_on, daemon):
    state = make_state()
    run_on(state)
    worst = (NOON, "ERROR:    worst")
    daemon.lines = {state.container_id: [worst, *(at(number, str(number)) for number in range(5000))]}
    assert read(session, lines=1, level="ERROR") == ["ERROR:    worst"]


@pytest.mark.parametrize("lines", [1, 4000, 9000])
def test_a_burst_of_one_second_is_followed_without_telling_a_line_twice(session, make_state, run_on, daemon, lines):
    state = make_state()
    run_on(state)
    burst = [(NOON + datetime.timedelta(microseconds=number), f"INFO:     {number}") for number in range(8000)]
    daemon.lines, daemon.later = {state.container_id: burst}, {state.container_id: [at(0.5, "new")]}
    shown = [str(number) for number in range(8000)][-lines:]
    assert read(session, lines=lines, follow=True) == [*shown, "new"]


def test_a_log_that_is_empty_so_far_is_followed(session, make_state, run_on, daemon):
    state = make_state()
    run_on(state)
    daemon.later = {state.container_id: [at(1, "a")]}
    assert read(session, follow=True) == ["a"]


def test_all_services_are_told_by_time_and_followed_together(session, make_state, run_on, daemon):
    engine, other = make_state(), make_state("prometheus")
    run_on(engine, other)
    daemon.lines = {engine.container_id: [at(0, "a"), at(2, "c")], other.container_id: [at(1, "b"), at(3, "d")]}
    daemon.later = {engine.container_id: [at(4, "e")], other.container_id: [at(5, "f")]}
    assert read(session, service="all") == ["a", "b", "c", "d"]
    assert sorted(read(session, service="all", follow=True)) == ["a", "b", "c", "d", "e", "f"]
    daemon.failure = CommandError(["docker"], 1, message="reading a container's log failed")
    with pytest.raises(CommandError):
        read(session, service="all", follow=True)


def test_of_an_engine_that_is_gone_its_newest_log_is_shown(session, run_on):
    for number, name in enumerate(("engine-0123.log", "20261122T120000Z-4567.log")):
        path = session.paths.boots / name
        path.write_text("a\nb\nc\n" if number else "old\n")
        os.utime(path, (number, number))
    run_on()
    assert read(session) == ["a", "b", "c"]
    assert read(session, lines=2) == ["b", "c"]
    assert read(session, boot="all") == ["old", "a", "b", "c"]


def test_no_boot_is_told_twice_and_each_line_has_its_own(session, make_state, run_on, daemon):
    first, second, third = (
        note_boot(session, seconds, name) for seconds, name in ((0, "one"), (60, "two"), (120, "two"))
    )
    first.write_text("first boot\n")
    second.write_text("kept twice\n")
    third.write_text("kept twice\n")
    (session.paths.boots / "engine-two.log").write_text(
        "2026-11-22T12:01:00.5Z second boot\n2026-11-22T12:02:00.5Z third boot\n2026-11-22T12:09:00Z later\n"
    )
    state = make_state()
    note_boot(session, 600, state.container_id[:12]).write_text("also in the container\n")
    run_on(state)
    daemon.lines = {state.container_id: [at(600, "fourth boot")]}
    entries = list(read_entries(session, LogQuery(boot="all")))
    assert [(entry.boot.id, entry.line.raw) for entry in entries] == [
        (1, "first boot"), (2, "second boot"), (3, "third boot"), (3, "later"), (4, "INFO:     fourth boot"),
    ]  # fmt: skip
    assert read(session, boot=3) == ["third boot", "later"]
    assert read(session, boot="last") == read(session) == ["fourth boot"]
    with pytest.raises(ConfigError) as caught:
        read(session, boot=9)
    assert str(caught.value.problems[0]) == "--boot: the log of boot 9 is not kept; kept are those of 1, 2, 3, 4"


@pytest.mark.parametrize("service", ["engine", "grafana", "all"])
def test_what_does_not_run_and_left_nothing_is_an_error(session, run_on, service):
    run_on()
    with pytest.raises(NotRunningError) as caught:
        read(session, service=service)
    name = "engine" if service == "all" else service
    assert caught.value.message == f"`{name}` does not run in project `stack`"
    assert caught.value.exit_code == 5


def test_a_kept_log_is_read_with_its_times_and_carriage_returns(tmp_path):
    path = tmp_path / "x.log"
    path.write_bytes(b"2026-11-22T12:00:00.000000Z a\rb\r\nno time\n")
    assert list(read_kept(path)) == [RawLine("a\rb\r", NOON), RawLine("no time")]
    with pytest.raises(StackError, match="cannot be read: No such file"):
        list(read_kept(tmp_path / "gone.log"))
