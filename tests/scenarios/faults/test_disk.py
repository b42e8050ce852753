"""A full disk must be told with the place that is full; nothing half is taken for whole, and room is all it takes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from stack.errors import CommandError
from stack.images.build import ensure_base_image, is_image_here
from stack.images.recipe import build_base_recipe
from stack.models.warm import list_snapshots
from stack.progress import ignore
from tests.fixtures.fake_hub import FakeHub, Misbehaviour, run_hub
from tests.fixtures.private_daemon import PrivateDaemon, find_reason
from tests.scenarios.engine import answers
from tests.scenarios.harness import Stack, start
from tests.scenarios.projects import build_small_stack, render_small_config
from tests.scenarios.reboot.conftest import PrivateStack
from tests.unit.models.conftest import build_model_files, write_files

pytestmark = pytest.mark.root
MODEL = "acme/tiny"
MIB = 1024 * 1024


class SmallDisk:
    """A disk in memory whose size can be changed while it is used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600m,mode=755", "tmpfs", path], check=True)

    def resize(self, size_bytes: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size_bytes}", self.path], check=True)

    def fill(self, *, spare_bytes: int = 4096) -> None:
        found = os.statvfs(self.path)
        self.resize((found.f_blocks - found.f_bfree) * found.f_frsize + spare_bytes)

    def make_room(self) -> None:
        self.resize(600 * MIB)


@pytest.fixture
def make_disk() -> Iterator[Callable[[Path], SmallDisk]]:
    made: list[SmallDisk] = []

    def make(path: Path) -> SmallDisk:
        made.append(SmallDisk(path))
        return made[-1]

    yield make
    for disk in made:
        subprocess.run(["umount", "--lazy", disk.path], check=True)


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1,localhost")
        yield from run_hub()


@pytest.fixture
def warmer(tmp_path: Path, hub: FakeHub) -> Stack:
    hub.add_model(MODEL, build_model_files(4 * MIB))
    (tmp_path / "home").mkdir()
    stack = Stack(f"disk-{os.getpid()}", tmp_path, tmp_path / "data")
    stack.write_config(f'[model]\nendpoint = "{hub.endpoint}"\n\n[engine]\ndevice = "cpu"\n')
    return stack


@pytest.mark.fault(
    "The disk of the models is too small for the model",
    "Exit 7 before anything is fetched: what is free, what is needed, and where",
)
def test_a_model_that_has_no_room_is_not_begun(warmer: Stack, hub: FakeHub, make_disk: Any) -> None:
    disk = make_disk(warmer.data / "stack" / "models")
    disk.fill(spare_bytes=MIB)
    done = warmer.run("warm", "--model", MODEL).demand(7)
    assert f"{disk.path} has 0.0 GB free, the model needs 0.3 GB more" in done.err
    assert "hint: free some space" in done.err
    assert hub.count("/resolve/") == 0
    disk.make_room()
    warmer.run("warm", "--model", MODEL, "--verify").demand()


@pytest.mark.fault(
    "The disk fills up while a model is fetched",
    "Exit 7 with the file; what came stays and is not taken for the model, and the next run goes on there",
)
def test_a_disk_that_fills_up_while_warming_loses_nothing(warmer: Stack, hub: FakeHub, make_disk: Any) -> None:
    disk = make_disk(warmer.data / "stack" / "models")

    def fill(handler: Any) -> bool:
        disk.fill(spare_bytes=MIB)
        return False

    hub.faults.append(Misbehaviour("/storage/", fill, times=1))
    done = warmer.run("warm", "--model", MODEL).demand(7)
    assert "the disk is full" in done.err and str(disk.path) in done.err
    assert "Traceback" not in done.err
    assert list_snapshots(disk.path) == []
    disk.make_room()
    warmer.run("warm", "--model", MODEL, "--verify").demand()
    assert [snapshot.id for snapshot in list_snapshots(disk.path)] == [MODEL]


@pytest.mark.fault(
    "The disk of the state directory is full, before or while the engine boots",
    "The full place is told; an engine that was started goes on, and with room the next `stack up` does too",
)
def test_a_full_state_is_told_and_mended_by_room(
    make_stack: Callable[..., Stack], fake_engine: str, make_disk: Any
) -> None:
    stack = build_small_stack(make_stack, "fullstate", render_small_config(fake_engine, "--boot-seconds 3"))
    disk = make_disk(stack.folder / "state")
    disk.fill()
    done = stack.run("up", "--no-smoke").demand(3)
    assert f"{stack.state}" in done.err and "disk is full" in done.err and "df -h" in done.err
    assert "Traceback" not in done.err
    assert stack.containers() == {}
    disk.make_room()
    with start(stack, "up", "--no-smoke") as up:
        up.wait_said("boot: load")
        disk.fill()
        assert up.wait_end() in (1, 3)
        assert "Traceback" not in up.said
        assert f"{stack.state}" in up.said and "full" in up.said and "df -h" in up.said
    before = stack.containers()["engine"]["State"]["StartedAt"]
    disk.make_room()
    stack.run("up", "--no-smoke").demand()
    assert stack.containers()["engine"]["State"]["StartedAt"] == before
    assert answers(stack)
    disk.fill()
    assert "stopped engine" in stack.run("down").demand().out
    assert stack.containers() == {}
    disk.make_room()


@pytest.fixture(scope="module")
def small_daemon(fake_engine: str) -> Iterator[PrivateDaemon]:
    """A private daemon with a small disk, and the fake engine's image on it."""
    reason = find_reason()
    if reason is not None:
        pytest.skip(reason)
    daemon = PrivateDaemon(data_bytes=900 * MIB)
    try:
        daemon.start()
        daemon.load_image(fake_engine)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DOCKER_HOST", daemon.host)
            yield daemon
    finally:
        daemon.close()


def fill_up(folder: Path) -> Path:
    filler = folder / "filler"
    with filler.open("wb") as file:
        for block in ("1M", "1K"):
            argv = ["dd", "if=/dev/zero", f"bs={block}", "status=none"]
            subprocess.run(argv, stdout=file, stderr=subprocess.DEVNULL)
        os.fsync(file.fileno())
    return filler


@pytest.mark.fault(
    "Docker's disk is full when the services are started",
    "Exit 4 with the place that is full; with room the next `stack up` succeeds",
)
def test_a_full_docker_is_told_and_mended_by_room(
    small_daemon: PrivateDaemon, fake_engine: str, tmp_path: Path
) -> None:
    (tmp_path / "home").mkdir()
    stack = PrivateStack("fulldocker", tmp_path, tmp_path / "data", daemon=small_daemon)
    stack.write_config(render_small_config(fake_engine))
    write_files(tmp_path / "model", build_model_files())
    filler = fill_up(small_daemon.data)
    done = stack.run("up", "--no-smoke")
    assert done.code in (3, 4), done.err
    assert "Traceback" not in done.err
    assert str(small_daemon.data) in done.err and "full" in done.err and "hint: " in done.err
    filler.unlink()
    stack.run("up", "--no-smoke").demand()
    assert answers(stack)
    stack.run("down").demand()


@pytest.mark.fault(
    "Docker's disk is full while an image is built",
    "The build ends with how to make room; no half image is left, and with room it is built",
)
def test_a_full_docker_leaves_no_half_image(small_daemon: PrivateDaemon, tmp_path: Path) -> None:
    # The real import of a base into a full daemon; only what makes the base's files is pretended.
    program = tmp_path / "mmdebstrap"
    program.write_text(
        "#!/bin/sh\nset -e\nfolder=$(mktemp -d)\nhead -c 50000000 /dev/urandom > $folder/file\n"
        'for last; do case "$last" in *.tar) tar -C $folder -cf "$last" .;; esac; done\nrm -r $folder\n'
    )
    program.chmod(0o755)
    environ = dict(os.environ) | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    recipe = build_base_recipe("bookworm", "http://deb.example.org/debian")
    client = docker.from_env()
    try:
        filler = fill_up(small_daemon.data)
        with pytest.raises(CommandError) as caught:
            ensure_base_image(client, recipe, environ, ignore)
        assert "no space left on device" in (caught.value.detail or "")
        assert "docker system df" in (caught.value.hint or "")
        assert not is_image_here(client, recipe.tag)
        filler.unlink()
        assert ensure_base_image(client, recipe, environ, ignore) == recipe.tag
        assert is_image_here(client, recipe.tag)
    finally:
        client.close()
