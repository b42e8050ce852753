"""`down`: what outlives a container."""

from __future__ import annotations

import datetime
import errno
import os
import stat

import pytest

from stack.containers.log_records import RawLine
from stack.errors import CommandError
from stack.operations import down
from stack.operations.down import build_minimal_project, run_down
from stack.operations.logs import keep as keep_log
from stack.operations.logs.keep import KEPT_LOGS
from stack.operations.project import ProjectFacts, load_facts, make_folders, write_facts

NOON = datetime.datetime(2026, 11, 22, 12, tzinfo=datetime.UTC)


class FakeProject:
    """A Compose project that only notes what it was told."""

    def __init__(self, session, calls):
        self.calls = calls

    def down(self, *, volumes):
        self.calls.append(volumes)


@pytest.fixture
def calls():
    return []


@pytest.fixture
def run_on(monkeypatch, calls):
    """A function: these containers run, and this is the engine's log."""

    def call(*states, log=("line one", "line two")):
        def stream_lines(client, container_id, *, follow):
            if isinstance(log, Exception):
                raise log
            return iter([RawLine(text, NOON) for text in log])

        found = {state.name: state for state in states}
        monkeypatch.setattr(down, "check_tools", lambda session: None)
        monkeypatch.setattr(down, "read_services", lambda client, project: found)
        monkeypatch.setattr(keep_log, "stream_lines", stream_lines)
        monkeypatch.setattr(down, "remove_leftovers", lambda client, project: calls.append(f"leftovers of {project}"))
        monkeypatch.setattr(down, "build_minimal_project", lambda session: FakeProject(session, calls))

    return call


@pytest.fixture
def session(make_session):
    session = make_session()
    make_folders(session.paths, os.geteuid())
    return session


@pytest.mark.parametrize("volumes", [True, False])
def test_volumes_go_only_when_told(session, make_state, run_on, calls, volumes):
    run_on(make_state(), make_state("prometheus"))
    result = run_down(session, volumes=volumes)
    assert (result.stopped, result.removed_volumes) == (("engine", "prometheus"), volumes)
    # What a killed run left is on the networks, and goes first.
    assert calls == ["leftovers of stack", volumes]


def test_the_engines_log_outlives_it_for_its_owner_alone(session, make_state, run_on):
    run_on(make_state())
    run_down(session, volumes=False)
    (path,) = session.paths.boots.iterdir()
    assert path.name == "engine-engine-01234.log"
    stamp = "2026-11-22T12:00:00.000000Z"
    assert path.read_text() == f"{stamp} line one\n{stamp} line two\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_only_so_many_logs_are_kept_and_those_of_boots_stay(session, make_state, run_on):
    for number in range(KEPT_LOGS + 5):
        path = session.paths.boots / f"engine-{number:012d}.log"
        path.write_text("old")
        os.utime(path, (number, number))
    (session.paths.boots / "20260101T000000Z-0123.log").write_text("a boot's own")
    run_on(make_state())
    run_down(session, volumes=False)
    names = sorted(path.name for path in session.paths.boots.iterdir())
    assert len(names) == KEPT_LOGS + 1
    assert "20260101T000000Z-0123.log" in names
    assert "engine-engine-01234.log" in names
    assert "engine-000000000000.log" not in names


def test_a_log_that_cannot_be_read_does_not_keep_the_stack_up(session, make_state, run_on, calls, said):
    run_on(make_state(), log=CommandError(["docker"], 1, message="reading a container's log failed"))
    run_down(session, volumes=False)
    assert calls == ["leftovers of stack", False]
    assert said == ["the engine's log is not kept: reading a container's log failed (exit status 1)"]


def test_a_log_of_weeks_goes_to_the_disk_as_it_comes(session, make_state, run_on, monkeypatch):
    drafts = []

    def stream_lines(client, container_id, *, follow):
        for _ in range(1000):
            yield RawLine("x" * 1000)
            drafts.append(sum(path.stat().st_size for path in session.paths.boots.iterdir()))

    run_on(make_state())
    monkeypatch.setattr(keep_log, "stream_lines", stream_lines)
    run_down(session, volumes=False)
    # Never more than a buffer is held back.
    assert all(size > line * 1001 - 500_000 for line, size in enumerate(drafts, 1))
    (path,) = session.paths.boots.iterdir()
    assert path.read_text() == ("x" * 1000 + "\n") * 1000


def test_a_log_that_breaks_off_leaves_nothing_half(session, make_state, run_on, monkeypatch, said):
    def stream_lines(client, container_id, *, follow):
        yield RawLine("x")
        raise CommandError(["docker"], 1, message="reading a container's log failed")

    run_on(make_state())
    monkeypatch.setattr(keep_log, "stream_lines", stream_lines)
    run_down(session, volumes=False)
    assert list(session.paths.boots.iterdir()) == []
    assert said == ["the engine's log is not kept: reading a container's log failed (exit status 1)"]


@pytest.mark.fault(
    "the disk is full at `stack down`",
    "the stack goes down all the same; what could not be kept is told",
)
def test_a_full_disk_does_not_keep_the_stack_up(session, make_state, run_on, calls, said, monkeypatch):
    write_facts(session.paths.facts, ProjectFacts(ports={"engine": 8001}, ready_container="x@y"))

    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    run_on(make_state())
    for name in ("fsync", "ftruncate", "pwrite"):
        monkeypatch.setattr(os, name, refuse)
    run_down(session, volumes=False)
    assert calls == ["leftovers of stack", False]
    log = session.paths.boots / "engine-engine-01234.log"
    assert said == [
        f"the engine's log is not kept: {log} cannot be written: the disk is full",
        f"{session.paths.facts} cannot be written: the disk is full",
    ]
    assert load_facts(session.paths.facts).ports == {"engine": 8001}


@pytest.mark.fault(
    "the clock is set back between two runs",
    "the newest log, boot and baseline are still taken for the newest",
)
def test_a_log_that_a_clock_set_back_makes_look_old_is_kept(session, make_state, run_on):
    for number in range(KEPT_LOGS + 5):
        path = session.paths.boots / f"engine-{number:012d}.log"
        path.write_text("of a future that is past")
        os.utime(path, (2**33 + number, 2**33 + number))
    run_on(make_state())
    run_down(session, volumes=False)
    names = sorted(path.name for path in session.paths.boots.iterdir())
    assert len(names) == KEPT_LOGS
    assert "engine-engine-01234.log" in names


def test_the_next_up_knows_that_no_engine_is_ready_and_keeps_its_ports(session, make_state, run_on):
    write_facts(session.paths.facts, ProjectFacts(ports={"engine": 8001}, last_boot=3, ready_container="x@y"))
    run_on(make_state())
    run_down(session, volumes=True)
    facts = load_facts(session.paths.facts)
    assert (facts.ports, facts.last_boot, facts.ready_container) == ({"engine": 8001}, 3, None)


def test_a_project_that_never_was_leaves_no_trace(make_session, run_on, calls):
    session = make_session()
    run_on()
    assert run_down(session, volumes=True).stopped == ()
    assert calls == []
    assert not session.paths.state.exists()


def test_a_stack_whose_rendered_files_are_gone_can_be_taken_down(session):
    project = build_minimal_project(session)
    assert [path.name for path in project.files] == ["compose.yaml", "compose.gateway.yaml", "compose.down.yaml"]
    assert all(path.is_file() for path in project.files)
