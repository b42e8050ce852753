"""Tools, locks and places that every operation shares."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from dataclasses import replace

import pytest

from stack.config.lock import Lock, LockedModel, write_lock
from stack.errors import HostError, StackError
from stack.operations import session as module
from stack.operations.session import (
    build_session,
    check_tools,
    has_gpu_runtime,
    hold_project,
    is_held_by_others,
    load_project_lock,
    wait_for_others,
)

WAIT_SECONDS = 30


class FakeDocker:
    def __init__(self, **info):
        self._info = info

    def info(self):
        return self._info


@pytest.mark.parametrize("version", ["2.24.0", "2.40.3-3", "5.0.1", "2.24.6-desktop.1"])
def test_a_compose_that_is_new_enough_will_do(make_session, monkeypatch, version):
    client = FakeDocker()
    monkeypatch.setattr(module, "read_compose_version", lambda: version)
    assert check_tools(make_session(connect=lambda: client)) is client


@pytest.mark.parametrize("version", ["2.23.3", "2.3", "1.29.2"])
def test_a_compose_that_is_too_old_is_named(make_session, monkeypatch, version):
    monkeypatch.setattr(module, "read_compose_version", lambda: version)
    with pytest.raises(HostError) as caught:
        check_tools(make_session(connect=FakeDocker))
    assert caught.value.message == f"Docker Compose {version} is too old: 2.24 or newer is needed"


def test_a_missing_compose_says_how_to_get_it(make_session, monkeypatch):
    monkeypatch.setattr(module, "read_compose_version", lambda: None)
    with pytest.raises(HostError) as caught:
        check_tools(make_session(connect=FakeDocker))
    assert "`docker compose version` fails" in caught.value.message
    assert caught.value.hint.startswith("./scripts/up installs it")


@pytest.mark.parametrize(
    ("info", "has_runtime"),
    [
        ({"Runtimes": {"runc": {}, "nvidia": {"path": "nvidia-container-runtime"}}}, True),
        (
            {"Runtimes": {"runc": {}}, "DiscoveredDevices": [{"Source": "cdi", "ID": "nvidia.com/gpu=all"}]},
            True,
        ),
        ({"Runtimes": {"runc": {}}, "DiscoveredDevices": [{"Source": "cdi", "ID": "amd.com/gpu=0"}]}, False),
        ({"Runtimes": {"runc": {}}}, False),
        ({"Runtimes": None, "DiscoveredDevices": None}, False),
    ],
)
def test_the_daemon_itself_says_whether_it_can_give_a_gpu(info, has_runtime):
    assert has_gpu_runtime(FakeDocker(**info)) is has_runtime


@pytest.mark.parametrize(
    ("environ", "state"),
    [
        ({}, "home/.local/state/stack/stack"),
        ({"XDG_STATE_HOME": "{tmp}/xdg"}, "xdg/stack/stack"),
        ({"STACK_STATE_HOME": "{tmp}/own"}, "own/stack"),
        ({"XDG_STATE_HOME": "relative"}, "home/.local/state/stack/stack"),
    ],
)
def test_the_state_lies_where_the_environment_says(make_session, tmp_path, environ, state):
    variables = {name: value.format(tmp=tmp_path) for name, value in environ.items()}
    loaded = make_session(**variables).loaded
    session = build_session(loaded, {"HOME": str(tmp_path / "home"), **variables}, print, print)
    assert session.paths.state == tmp_path / state


def test_two_projects_share_nothing(make_session):
    one, other = make_session(STACK_PROJECT="one"), make_session(STACK_PROJECT="other")
    assert one.paths.state != other.paths.state
    assert one.paths.cache != other.paths.cache


def test_the_lock_lies_beside_stack_toml_else_in_the_state(make_session, tmp_path):
    assert make_session("").lock_path == tmp_path / "stack.lock"
    session = make_session(None)
    assert session.lock_path == session.paths.state / "stack.lock"


def test_a_lock_that_an_up_without_a_file_left_is_taken_over_and_told(make_session, said):
    without = make_session(None)
    without.paths.state.mkdir(parents=True)
    write_lock(without.lock_path, Lock(model=LockedModel(id="demo", revision=None)))
    lock = load_project_lock(make_session(""))
    assert lock.model is not None and lock.model.id == "demo"
    assert len(said) == 1 and "is taken over" in said[0]


def test_the_projects_own_lock_comes_first(make_session, said):
    session = make_session("")
    session.paths.state.mkdir(parents=True)
    write_lock(session.paths.state / "stack.lock", Lock(model=LockedModel(id="old/one", revision="a")))
    write_lock(session.lock_path, Lock(model=LockedModel(id="new/one", revision="b")))
    assert load_project_lock(session).model.id == "new/one"
    assert said == []


def test_a_run_holds_the_project_and_lets_go(make_session):
    session = make_session()
    with hold_project(session, "up"):
        assert is_held(session)
        said = (session.paths.state / "lock").read_text()
        assert said == f"`stack up` (process {os.getpid()})\n"
    assert not is_held(session)


def test_a_run_that_fails_lets_go_too(make_session):
    session = make_session()
    with pytest.raises(ZeroDivisionError), hold_project(session, "up"):
        raise ZeroDivisionError
    assert not is_held(session)


def test_a_second_run_says_for_whom_it_waits_and_goes_on_when_it_is_done(make_session, events):
    session = make_session()
    told, finished = threading.Event(), threading.Event()
    waiting = make_session()
    object.__setattr__(waiting, "report", lambda event: (events.append(event), told.set()))

    def run_down():
        with hold_project(waiting, "down"):
            finished.set()

    second = threading.Thread(target=run_down)
    with hold_project(session, "up"):
        second.start()
        assert told.wait(WAIT_SECONDS)
        assert not finished.is_set()
        assert events[0].text == f"`stack up` (process {os.getpid()}) works on project `stack`"
    second.join(WAIT_SECONDS)
    assert finished.is_set()
    assert events[-1].state == "done"


def test_what_only_looks_waits_too_and_holds_nothing(make_session, events):
    session = make_session()
    wait_for_others(session, "smoke")
    assert not session.paths.state.exists()
    told = threading.Event()
    waiting = make_session()
    object.__setattr__(waiting, "report", lambda event: (events.append(event), told.set()))
    looking = threading.Thread(target=wait_for_others, args=(waiting, "smoke"))
    with hold_project(session, "up"):
        looking.start()
        assert told.wait(WAIT_SECONDS)
        assert looking.is_alive()
    looking.join(WAIT_SECONDS)
    assert not looking.is_alive()
    assert not is_held(session)


def test_two_projects_do_not_wait_for_each_other(make_session, events):
    with (
        hold_project(make_session(STACK_PROJECT="one"), "up"),
        hold_project(make_session(STACK_PROJECT="two"), "up"),
    ):
        assert events == []


def test_a_state_that_cannot_be_written_is_told_with_a_way_out(make_session, tmp_path):
    (tmp_path / "home/.local").mkdir(parents=True)
    (tmp_path / "home/.local/state").write_text("a file in its place")
    with pytest.raises(StackError) as caught, hold_project(make_session(), "up"):
        pass
    assert str(tmp_path / "home/.local/state") in caught.value.message
    assert caught.value.exit_code == 3
    assert "STACK_STATE_HOME" in caught.value.hint


def test_a_full_disk_does_not_keep_the_project_from_being_held(make_session, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", refuse)
    session = make_session()
    with hold_project(session, "down"):
        assert is_held(session)


def test_a_file_system_that_became_read_only_lets_the_project_be_held(make_session, monkeypatch):
    session = make_session()
    with hold_project(session, "up"):
        pass
    opened = os.open

    def refuse(path, flags, *mode):
        if flags & (os.O_RDWR | os.O_WRONLY | os.O_CREAT):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return opened(path, flags, *mode)

    monkeypatch.setattr(os, "open", refuse)
    with hold_project(session, "down"):
        monkeypatch.setattr(os, "open", opened)
        assert is_held(session)


def test_a_lock_file_full_of_garbage_is_not_shown(make_session, events):
    waiting = make_session()
    with hold_project(make_session(), "up"):
        (waiting.paths.state / "lock").write_bytes(b"\x1b[2J\x00\xff")
        told = threading.Event()
        object.__setattr__(waiting, "report", lambda event: (events.append(event), told.set()))
        second = threading.Thread(target=lambda: hold_project(waiting, "down").__enter__(), daemon=True)
        second.start()
        assert told.wait(WAIT_SECONDS)
    second.join(WAIT_SECONDS)
    assert events[0].text == "another run works on project `stack`"


def is_held(session) -> bool:
    descriptor = os.open(session.paths.state / "lock", os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def test_a_run_that_holds_the_project_does_not_wait_for_itself_and_is_seen_by_others(make_session):
    session = make_session()
    assert not is_held_by_others(session)
    with hold_project(session, "upgrade"):
        own = replace(session, is_held=True)
        with hold_project(own, "up"):
            wait_for_others(own, "smoke")
        assert is_held_by_others(session) and not is_held_by_others(own)
    assert not is_held_by_others(session)


def test_an_experiment_reads_and_writes_a_lock_of_its_own(make_session, tmp_path):
    session = make_session()
    own = replace(session, lock_file=tmp_path / "elsewhere" / "stack.lock")
    own.lock_file.parent.mkdir()
    write_lock(own.lock_path, Lock(model=LockedModel(id="acme/tiny")))
    assert load_project_lock(own).model.id == "acme/tiny"
    assert load_project_lock(session).model is None and not session.lock_path.exists()
