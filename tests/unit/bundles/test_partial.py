"""A save writes and removes nothing but what is a bundle's own, whatever ended the one before."""

import os
import resource
import shutil

import pytest

from stack.bundles import files
from stack.bundles.directory_writer import DirectoryWriter
from stack.bundles.names import build_blob_path
from stack.bundles.open import load_manifest, open_source
from stack.bundles.problem import BundleError
from stack.bundles.verify import find_damage, find_differences
from tests.unit.bundles.conftest import LAYERS, build_bundle, cut, list_bodies, open_writer, sha256, write_bundle


def is_whole(where):
    source = open_source(where)
    return not find_differences(source, load_manifest(source)) and not find_damage(source, load_manifest(source))


def list_files(where):
    return {path.relative_to(where).as_posix() for path in where.rglob("*") if path.is_file() or path.is_symlink()}


def kill_in(function, where, number, save):
    """Save in a process that is killed instead of its nth call of a function of the OS; tell whether it was."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    left, real = [number], getattr(os, function)

    def call(*args, **options):
        left[0] -= 1
        return os._exit(9) if left[0] < 0 else real(*args, **options)

    setattr(files.os, function, call)
    try:
        save(where)
        os._exit(0)
    except BaseException:  # noqa: BLE001 (nothing of the child may reach pytest)
        os._exit(1)


def save_other(where):
    """Save something that has less in it than the bundle of all parts, and another tool."""
    kept = [file for file in build_bundle().files if file.part not in ("cache", "tool", "model")]
    with open_writer(where) as writer:
        for body in list_bodies():
            writer.add_body(body)
        writer.add_file("tool/install", b"other")
        tool = build_bundle().list_part("tool")[0].model_copy(
            update={"size_bytes": 5, "sha256": sha256(b"other")}
        )  # fmt: skip
        writer.finish(build_bundle(files=(*kept, tool)))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("function", ["fsync", "unlink", "replace", "rmdir"])
def test_a_save_that_is_killed_between_any_two_steps_can_be_done_again(function, tmp_path):
    whole = write_bundle(tmp_path / "whole" / "dir")
    for number in range(60):
        where = tmp_path / str(number) / "dir"
        shutil.copytree(whole, where)
        if not kill_in(function, where, number, save_other):
            break
        save_other(where)
        assert is_whole(where) and not (where / "partial").exists()
        assert list_files(where) == {*load_manifest(open_source(where)).paths, "bundle.json"}
    assert number < 59


@pytest.mark.parametrize("name", ["notes.txt", "blobs/sha256/notes", "blobs/mine", "tool/mine.py",
                                  build_blob_path("a" * 64), "partial/mine"])  # fmt: skip
def test_a_bundle_with_something_of_somebody_else_in_it_is_not_written_to(name, tmp_path):
    where = write_bundle(tmp_path / "dir")
    (where / name).parent.mkdir(exist_ok=True)
    (where / name).write_bytes(b"mine")
    before = list_files(where)
    with pytest.raises(BundleError, match="is no part of a bundle") as caught:
        save_other(where)
    assert name in caught.value.message and list_files(where) == before
    assert name.startswith("partial") or not (where / "partial").exists()


@pytest.mark.parametrize("body", [b"{}", b"not json", b'{"schema_version": 99}'])
def test_a_directory_whose_manifest_is_another_programs_is_left_alone(body, tmp_path):
    where = tmp_path / "dir"
    where.mkdir()
    (where / "bundle.json").write_bytes(body)
    with pytest.raises(BundleError):
        write_bundle(where)
    assert list_files(where) == {"bundle.json"} and (where / "bundle.json").read_bytes() == body


def test_a_link_in_the_place_of_the_partial_folder_leads_nobody_out(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "draft").write_bytes(b"mine")
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "partial").symlink_to(tmp_path / "mine")
    with pytest.raises(BundleError, match="partial"):
        write_bundle(tmp_path / "dir")
    assert list_files(tmp_path / "mine") == {"draft"}


@pytest.mark.parametrize("form", ["bundle.tar", "bundle.tar.zst"])
@pytest.mark.parametrize("suffix", ["", ".part"])
def test_a_file_that_is_no_bundle_is_not_replaced(form, suffix, tmp_path):
    path = tmp_path / f"{form}{suffix}"
    path.write_bytes(b"a thesis" * 1000)
    with pytest.raises(BundleError, match="is there, and is no"):
        write_bundle(tmp_path / form)
    assert path.read_bytes() == b"a thesis" * 1000


@pytest.mark.parametrize("form", ["bundle.tar", "bundle.tar.zst"])
def test_a_file_that_is_a_bundle_is_replaced(form, tmp_path):
    where = write_bundle(tmp_path / form)
    before = where.stat().st_ino
    write_bundle(where)
    assert is_whole(where) and where.stat().st_ino != before


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("form", ["bundle.tar", "bundle.tar.zst"])
def test_a_save_to_a_file_that_is_killed_leaves_nothing_behind_once_it_is_done(form, tmp_path):
    for number in range(40):
        where = tmp_path / str(number) / form
        if not kill_in("replace", where, number, write_bundle):
            break
        write_bundle(where)
        assert is_whole(where) and list_files(where.parent) == {form}
    assert 0 < number < 39


def test_whoever_waits_for_a_lock_that_went_with_its_file_does_not_hold_it(tmp_path, monkeypatch):
    where, real = tmp_path / "dir", files.fcntl.flock
    first = DirectoryWriter(where).__enter__()
    late = []

    def flock(descriptor, kind):
        if not late:
            late.append(descriptor)
            first.__exit__()  # the file that was just opened is gone
        return real(descriptor, kind)

    monkeypatch.setattr(files.fcntl, "flock", flock)
    with (
        DirectoryWriter(where),
        pytest.raises(BundleError, match="another process is writing"),
        DirectoryWriter(where),
    ):
        raise AssertionError("both write")


@pytest.mark.parametrize("form", ["dir", "bundle.tar", "bundle.tar.zst"])
def test_hashing_what_an_interrupted_save_left_tells_its_bytes(form, tmp_path):
    where, told = tmp_path / form, []
    with open_writer(where) as writer:
        writer.add_blob(cut(LAYERS[0]), len(LAYERS[0]))
    writer = open_writer(where)
    writer._report = told.append
    with writer:
        assert writer.has(sha256(LAYERS[0])) == len(LAYERS[0])
    assert told[-1].completed_bytes == told[-1].total_bytes == len(LAYERS[0]) and told[-1].state == "done"
    assert len(told) > 1


def test_a_disk_that_takes_only_a_part_of_a_write_is_told(form, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with open_writer(tmp_path / form) as writer:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        try:
            with pytest.raises(BundleError, match="cannot be written"):
                writer.add_blob([os.urandom(200_000)])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
