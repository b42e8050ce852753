"""A bundle must bring a stack to a machine that has nothing of it; a damaged one must change nothing there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fixtures.private_daemon import PrivateDaemon, find_reason
from tests.scenarios.faults.projects import build_small_stack, render_config
from tests.scenarios.harness import Stack, run_docker
from tests.scenarios.reboot.conftest import PrivateStack
from tests.scenarios.reboot.test_reboot import answers


@pytest.fixture(scope="module")
def sender(make_stack: Callable[..., Stack], fake_engine: str) -> Stack:
    """A stack that came up, and was saved to a directory `out` beside its stack.toml."""
    stack = build_small_stack(make_stack, "sender", render_config(fake_engine))
    stack.run("up", "--no-smoke").demand()
    stack.run("down").demand()
    stack.run("bundle", "save", "out", "--no-tool").demand()
    return stack


@pytest.fixture(scope="module")
def packed(sender: Stack) -> Path:
    """The same as one file."""
    sender.run("bundle", "save", "out.tar.zst", "--no-tool").demand()
    return sender.folder / "out.tar.zst"


@pytest.fixture(scope="module")
def empty_daemon() -> Iterator[PrivateDaemon]:
    """A private daemon without images, to which docker and the tool talk."""
    reason = find_reason()
    if reason is not None:
        pytest.skip(reason)
    daemon = PrivateDaemon()
    try:
        daemon.start()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DOCKER_HOST", daemon.host)
            yield daemon
    finally:
        daemon.close()


@pytest.fixture
def receiver(sender: Stack, empty_daemon: PrivateDaemon, tmp_path: Path) -> Iterator[Stack]:
    """Another machine: its own engine without images, home, state and volume, and no way out."""
    (tmp_path / "home").mkdir()
    stack = PrivateStack(sender.name, tmp_path, tmp_path / "data", daemon=empty_daemon)
    yield stack
    stack.run("down", "--volumes")
    ids = run_docker("images", "--quiet", "--no-trunc").split()
    if ids:
        run_docker("rmi", "--force", *set(ids))


def list_files(folder: Path) -> dict[str, tuple[int, int]]:
    """Give every file with its inode and time."""
    return {
        str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def flip(path: Path, position: int) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 1]))


def test_a_second_save_writes_nothing_that_is_there(sender: Stack) -> None:
    folder = sender.folder / "out"
    before = list_files(folder)
    done = sender.run("bundle", "save", "out", "--no-tool", "--json").demand()
    after = list_files(folder)
    assert {path for path in before if after.get(path) != before[path]} == {"bundle.json"}
    assert set(after) == set(before) and done.json()["written_bytes"] == 0
    assert "save engine: done" in done.err and "unchanged" in done.err


def test_a_bundle_is_whole_and_holds_no_secret_and_no_path(sender: Stack, packed: Path) -> None:
    for name in ("out", "out.tar.zst"):
        assert sender.run("bundle", "verify", name, "--json").demand().json()["whole"] is True
    listed = sender.run("bundle", "list", "out", "--json").demand().json()
    assert {item["service"] for item in listed["images"]} == {"engine"}
    assert set(listed["parts"]) == {"image", "model", "config", "lock", "history"}
    texts = [
        (sender.folder / "out" / item["path"]).read_bytes()
        for item in listed["files"]
        if item["part"] in ("config", "lock", "history")
    ]
    assert not any(os.fsencode(sender.folder) in text for text in texts)


@pytest.mark.fault(
    "A byte of a bundle flips on the way, or a part of it is lost",
    "`stack bundle verify` and `load` name the part; nothing of the bundle is loaded",
)
def test_a_damaged_bundle_is_named_and_changes_nothing(packed: Path, receiver: Stack, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.tar.zst"
    damaged.write_bytes(packed.read_bytes())
    flip(damaged, damaged.stat().st_size // 2)
    found = receiver.run("bundle", "verify", "damaged.tar.zst").demand(1)
    assert "(image engine) holds other bytes" in found.out
    done = receiver.run("bundle", "load", "damaged.tar.zst").demand(9)
    assert "(image engine) holds other bytes" in done.err and "nothing of it was used" in done.err
    assert run_docker("images", "--quiet") == ""
    assert not (tmp_path / "stack.toml").exists() and not (tmp_path / "stack.lock").exists()
    assert not list((tmp_path / "data").rglob("snapshot.json"))


@pytest.mark.parametrize("name", ["out", "out.tar.zst"])
def test_a_stack_comes_up_from_a_bundle_where_nothing_was(
    sender: Stack, packed: Path, receiver: Stack, tmp_path: Path, name: str
) -> None:
    where = str(sender.folder / name)
    loaded = receiver.run("bundle", "load", where, "--json").demand().json()
    assert (loaded["project"], loaded["left_out"]) == (sender.name, ["engine.accept"])
    receiver.run("up", "--offline", "--no-smoke").demand()
    assert answers(receiver)
    assert receiver.containers()["engine"]["Image"] == loaded["images"]["engine"]
    # Once more it changes nothing, also while the stack runs.
    again = receiver.run("bundle", "load", where).demand()
    assert "it is here already" in again.err and "wrote" not in again.out
    assert "nothing to do" in receiver.run("up", "--offline", "--no-smoke").demand().err
