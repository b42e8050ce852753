"""A bundle is written whole or not at all, and what an interrupted save left is not written again."""

import io
import json
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from stack.bundles.files import ChangedFileError
from stack.bundles.names import build_blob_path
from stack.bundles.open import load_manifest, open_source
from stack.bundles.problem import BundleError
from stack.bundles.verify import find_damage, find_differences
from tests.unit.bundles.conftest import (
    FORMS,
    LAYERS,
    MODEL,
    build_bundle,
    cut,
    flip,
    list_bodies,
    open_writer,
    sha256,
    write_bundle,
)  # fmt: skip


def is_whole(where: Path) -> bool:
    source = open_source(where)
    bundle = load_manifest(source)
    return not find_differences(source, bundle) and not find_damage(source, bundle)


def write_until(where: Path, last_piece: int) -> bool:
    """Write in a process that is killed after some pieces; tell whether it was."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status) != 0
    left = [last_piece]

    def pieces(body: bytes):
        for piece in cut(body):
            left[0] -= 1
            if left[0] < 0:
                os._exit(9)
            yield piece

    try:
        write_bundle(where, pieces=pieces)
        os._exit(0)
    except BaseException:  # noqa: BLE001 (nothing of the child may reach pytest)
        os._exit(1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_save_that_is_killed_anywhere_goes_on_to_a_whole_bundle(form, tmp_path):
    chance = random.Random(20261122)
    for number in range(12):
        where = tmp_path / str(number) / form
        where.parent.mkdir()
        for _ in range(chance.randrange(1, 4)):
            assert write_until(where, chance.randrange(0, 25)) or where.exists()
            if where.exists() and form != "dir":
                break
            with pytest.raises(BundleError):
                load_manifest(open_source(where))
        write_bundle(where)
        assert is_whole(where)
        left = {path.name for path in where.parent.iterdir()} - {form}
        assert left == set() and not (where / "partial").exists()


def test_what_is_whole_in_an_interrupted_save_is_not_written_again(form, tmp_path):
    where = tmp_path / form
    with open_writer(where) as writer:
        for body in list_bodies()[:3]:
            writer.add_blob(cut(body), len(body))
    asked = []

    def pieces(body):
        asked.append(body)
        return cut(body)

    with open_writer(where) as writer:
        for body in list_bodies():
            writer.add_blob((piece for piece in pieces(body)), len(body), sha256(body))
        assert [writer.has(sha256(body)) for body in LAYERS] == [len(body) for body in LAYERS]


def test_what_an_earlier_run_left_counts_only_when_its_bytes_are_right(form, tmp_path):
    where = tmp_path / form
    with open_writer(where) as writer:
        writer.add_blob(cut(LAYERS[0]), len(LAYERS[0]))
    damaged = where / build_blob_path(sha256(LAYERS[0])) if form == "dir" else where.with_name(f"{form}.part")
    flip(damaged, damaged.stat().st_size // 2)
    with open_writer(where) as writer:
        assert writer.has(sha256(LAYERS[0])) is None
    write_bundle(where)
    assert is_whole(where)


@pytest.mark.parametrize("form", FORMS[1:])
def test_a_part_of_an_interrupted_file_that_nobody_wants_any_more_is_written_over(form, tmp_path):
    where = tmp_path / form
    with open_writer(where) as writer:
        writer.add_blob(cut(LAYERS[0]), len(LAYERS[0]))
        writer.add_blob(cut(b"old" * 1000), 3000)
        writer.add_blob(cut(LAYERS[1]), len(LAYERS[1]))
    with open_writer(where) as writer:
        assert writer.has(sha256(LAYERS[0])) and writer.has(sha256(LAYERS[1])) is None
    write_bundle(where)
    assert is_whole(where)


def test_other_bytes_than_announced_are_refused_and_leave_nothing(form, tmp_path):
    where = tmp_path / form
    with open_writer(where) as writer:
        for size, digest in ((3, None), (4, "0" * 64)):
            with pytest.raises(ChangedFileError, match="is not what it was"):
                writer.add_blob([b"four"], size, digest)
        assert writer.has(sha256(b"four")) is None
    write_bundle(where)
    assert is_whole(where)


def test_a_source_that_fails_in_the_middle_leaves_nothing(form, tmp_path):
    def fail():
        yield b"half"
        raise RuntimeError("gone")

    with open_writer(tmp_path / form) as writer:
        with pytest.raises(RuntimeError):
            writer.add_blob(fail(), 8)
        assert writer.has(sha256(b"half")) is None
    write_bundle(tmp_path / form)
    assert is_whole(tmp_path / form)


def test_a_blob_that_turns_out_to_be_there_is_written_once(form, tmp_path):
    with open_writer(tmp_path / form) as writer:
        assert writer.add_blob(cut(LAYERS[0])) == writer.add_blob(cut(LAYERS[0])) == sha256(LAYERS[0])
    write_bundle(tmp_path / form)
    assert is_whole(tmp_path / form)


def test_a_second_save_to_a_directory_writes_only_what_changed(tmp_path):
    where = write_bundle(tmp_path / "dir")
    before = {path: path.stat().st_ino for path in where.rglob("*") if path.is_file()}
    write_bundle(where)
    after = {path: path.stat().st_ino for path in where.rglob("*") if path.is_file()}
    assert {path.name for path in before if before[path] != after[path]} <= {"bundle.json"}
    assert set(before) == set(after)


def test_a_second_save_drops_what_only_the_first_named(tmp_path):
    where = write_bundle(tmp_path / "dir")
    files = [file for file in build_bundle().files if file.part not in ("cache", "tool")]
    with open_writer(where) as writer:
        writer.finish(build_bundle(files=tuple(files), tool=None))
    assert is_whole(where)
    assert not (where / "tool").exists()
    names = {path.name for path in (where / "blobs/sha256").iterdir()}
    assert names == {file.sha256 for file in files}


def test_until_the_last_moment_a_directory_is_the_bundle_that_it_was(tmp_path):
    where = write_bundle(tmp_path / "dir")
    with open_writer(where) as writer:
        writer.add_blob([b"new"], 3)
        writer.add_file("tool/install", b"other")
        source = open_source(where)
        assert [item.state for item in find_differences(source, load_manifest(source))] == ["extra"]
        assert find_damage(source, load_manifest(source)) == []


def test_two_saves_to_one_place_do_not_mix(form, tmp_path):
    with (
        open_writer(tmp_path / form),
        pytest.raises(BundleError, match="another process is writing"),
        open_writer(tmp_path / form),
    ):
        raise AssertionError("both write")


def test_a_directory_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "photo.jpg").write_bytes(b"x")
    with pytest.raises(BundleError, match="holds no bundle"), open_writer(tmp_path / "dir"):
        raise AssertionError("it was opened")
    assert [path.name for path in (tmp_path / "dir").iterdir()] == ["photo.jpg"]


@pytest.mark.root
def test_a_full_disk_is_told_and_room_is_all_it_takes(form, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=True)
    try:
        with pytest.raises(BundleError, match="the disk is full") as caught:
            write_bundle(disk / form, pieces=lambda body: cut(bytes(random.Random(len(body)).randbytes(len(body)))))
        assert "df -h" in caught.value.hint
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        write_bundle(disk / form)
        assert is_whole(disk / form)
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_bundle_can_be_copied_and_is_as_whole_there(tmp_path):
    where = write_bundle(tmp_path / "dir")
    shutil.copytree(where, tmp_path / "copy")
    assert is_whole(tmp_path / "copy")
    assert json.loads((tmp_path / "copy" / "bundle.json").read_text())["model"]["id"] == "acme/tiny"
    assert set(MODEL) == {file.name for file in load_manifest(open_source(where)).list_part("model")}


@pytest.mark.parametrize("name", ["bundle.tar", "bundle.tar.zst"])
def test_a_disk_that_takes_a_part_of_what_it_is_given_gets_the_rest_too(tmp_path, name, monkeypatch):
    class Reluctant(io.FileIO):
        def write(self, data):
            return super().write(bytes(data)[:300])

    real = Path.open
    monkeypatch.setattr(
        Path,
        "open",
        lambda path, mode="r", *rest, **more: (
            Reluctant(path, mode) if mode == "r+b" else real(path, mode, *rest, **more)
        ),
    )
    where = write_bundle(tmp_path / name)
    source = open_source(where)
    bundle = load_manifest(source)
    assert find_differences(source, bundle) == find_damage(source, bundle) == []
