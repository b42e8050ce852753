"""A bundle must bring a stack to a machine that has nothing of it; a damaged one must change nothing there."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fixtures.private_daemon import PrivateDaemon, find_reason
from tests.scenarios.engine import answers
from tests.scenarios.harness import Stack, run_docker, start
from tests.scenarios.projects import build_small_stack, render_small_config
from tests.scenarios.reboot.conftest import PrivateStack


@pytest.fixture(scope="module")
def sender(make_stack: Callable[..., Stack], fake_engine: str) -> Stack:
    """A stack that came up, and was saved to a directory `out` beside its stack.toml."""
    stack = build_small_stack(
        make_stack, "sender", render_small_config(fake_engine, "--boot-seconds 0", 'accept = "claimed"')
    )
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
    gone = [b"hf_tokenoftheenvironment", b"keyofthestate", b"tokenofthefile", str(sender.folder).encode()]
    (sender.folder / "token").write_bytes(gone[2])
    (sender.state / "secrets" / "api_key").write_bytes(gone[1])
    config = (sender.folder / "stack.toml").read_text()
    with sender_with(sender, config.replace("[model]\n", '[model]\ntoken-file = "./token"\n', 1)):
        sender.environ["HF_TOKEN"] = gone[0].decode()
        done = sender.run("bundle", "save", "checked", "--no-tool", "--with-caches").demand()
        del sender.environ["HF_TOKEN"]
    assert "left out: model.token-file" in done.err
    for path in (path for path in (sender.folder / "checked").rglob("*") if path.is_file()):
        body = path.read_bytes()
        assert not any(secret in body for secret in gone), path


@contextmanager
def sender_with(sender: Stack, config: str) -> Iterator[None]:
    """Give the sender another configuration while the block lasts."""
    before = (sender.folder / "stack.toml").read_text()
    sender.write_config(config)
    yield
    sender.write_config(before)


@pytest.mark.fault(
    "`stack bundle save FILE` is killed",
    "What is whole stays, nothing half counts as a bundle, and the same command goes on from there",
)
@pytest.mark.parametrize("name", ["killed", "killed.tar.zst"])
def test_a_save_that_is_killed_goes_on(sender: Stack, name: str) -> None:
    with start(sender, "bundle", "save", name, "--no-tool") as save:
        save.wait_said("save engine")
        save.end(signal.SIGKILL)
    sender.run("bundle", "verify", name).demand(9)
    sender.run("bundle", "save", name, "--no-tool").demand()
    sender.run("bundle", "verify", name).demand()
    assert not list(sender.folder.glob("killed*.part*"))


@pytest.mark.root
@pytest.mark.fault(
    "A disk has no room for a bundle",
    "Exit 9 before anything is written: what is free, what is needed, and where",
)
def test_a_bundle_that_has_no_room_is_not_begun(sender: Stack, tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", tmp_path], check=True)
    try:
        for name in ("dir", "file.tar.zst"):
            done = sender.run("bundle", "save", str(tmp_path / name)).demand(9)
            assert "GB free, and about 0." in done.err and str(tmp_path) in done.err
            assert not list(tmp_path.rglob("*.zst")) and not list(tmp_path.rglob("blobs"))
    finally:
        subprocess.run(["umount", "--lazy", tmp_path], check=True)


@pytest.mark.fault(
    "A byte of a bundle flips on the way, or a part of it is lost",
    "`stack bundle verify FILE` and `load` name the part; nothing of the bundle is loaded",
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


def test_a_stack_comes_up_from_a_bundle_where_nothing_was(sender: Stack, packed: Path, receiver: Stack) -> None:
    where = str(packed)
    loaded = receiver.run("bundle", "load", where, "--json").demand().json()
    assert loaded["project"] == sender.name
    assert loaded["left_out"] == ["engine.accept", "engine.env.FAKE_ENGINE_ARGS"]
    receiver.run("up", "--offline", "--no-smoke").demand()
    assert answers(receiver)
    assert receiver.containers()["engine"]["Image"] == loaded["images"]["engine"]
    assert "localhost/stack-test" not in run_docker("images")
    # Once more it changes nothing, also while the stack runs.
    again = receiver.run("bundle", "load", where).demand()
    assert "it is here already" in again.err and "wrote" not in again.out
    assert "nothing to do" in receiver.run("up", "--offline", "--no-smoke").demand().err


@pytest.mark.fault(
    "`stack bundle load FILE` is killed",
    "No configuration is written before all is in its place; the same command goes on from there",
)
def test_a_load_that_is_killed_goes_on(sender: Stack, receiver: Stack, tmp_path: Path) -> None:
    where = str(sender.folder / "out")
    with start(receiver, "bundle", "load", where) as load:
        load.wait_said("load images")
        load.end(signal.SIGKILL)
    assert not (tmp_path / "stack.toml").exists()
    receiver.run("bundle", "load", where).demand()
    assert (tmp_path / "stack.toml").exists()
