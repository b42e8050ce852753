"""Space, inodes and folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stack.checks.host import check_disk_space, check_folders, check_inodes
from stack.checks.host.filesystems import find_existing
from stack.checks.host.target import FolderNeed, ImageNeed
from tests.unit.checks.host.conftest import GIB, give_filesystem


def give_image(least_gib, likely_gib=None, action="pull"):
    likely = None if likely_gib is None else likely_gib * GIB
    return ImageNeed("engine", action, "vllm", least_gib * GIB, likely)


@pytest.fixture
def data_root(tmp_path: Path) -> dict:
    """The daemon's data root, on the pretended machine."""
    (tmp_path / "root/var/lib/docker").mkdir(parents=True)
    return {"DockerRootDir": "/var/lib/docker"}


def folder(path, needed_bytes=0, **fields):
    return FolderNeed("models", path, "`model.volume`", needed_bytes, **fields)


@pytest.mark.parametrize(("free", "status"), [(40, "pass"), (32, "warn"), (13, "warn"), (11, "fail")])
def test_needs_on_one_filesystem_are_added_together(make_context, data_root, tmp_path, free, status):
    context = make_context(
        info=data_root, images=(give_image(9, 30),), folders=(folder(tmp_path / "models", 3 * GIB),),
        free_bytes=free * GIB,
    )  # fmt: skip
    outcome = check_disk_space.run(context)
    assert outcome.status == status
    assert "about 33.0 GiB needed (models 3.0 GiB, images 30.0 GiB)" in outcome.message


def test_images_that_are_here_need_nothing(make_context, data_root, tmp_path):
    context = make_context(info=data_root, images=(give_image(9, 30, "none"),), free_bytes=3 * GIB)
    assert check_disk_space.run(context).status == "pass"


def test_a_full_disk_warns_even_where_nothing_is_fetched(make_context, tmp_path):
    context = make_context(folders=(folder(tmp_path),), free_bytes=GIB)
    assert check_disk_space.run(context).status == "warn"


def test_a_size_that_is_not_known_is_said(make_context, tmp_path):
    context = make_context(folders=(folder(tmp_path, None),))
    assert "the size of models is not known" in check_disk_space.run(context).message


def test_a_data_root_of_another_machine_is_left_out(make_context, tmp_path):
    context = make_context(info={"DockerRootDir": "/in/a/vm"}, images=(give_image(9, 30),), free_bytes=5 * GIB,
                           folders=(folder(tmp_path),))  # fmt: skip
    assert check_disk_space.run(context).status == "pass"


def test_few_inodes_are_a_warning(make_context, data_root, tmp_path):
    world = {"statvfs": lambda path: give_filesystem(80 * GIB, inodes=(50_000, 10**7))}
    context = make_context(info=data_root, images=(give_image(9, 30),), world=world, folders=(folder(tmp_path),))
    outcome = check_inodes.run(context)
    assert outcome.status == "warn"
    assert "50000 at" in outcome.message
    assert check_inodes.run(make_context(world=world, folders=(folder(tmp_path),))).status == "pass"


def test_a_filesystem_without_a_number_of_inodes_has_enough(make_context, tmp_path):
    world = {"statvfs": lambda path: give_filesystem(80 * GIB, inodes=(0, 0))}
    outcome = check_inodes.run(make_context(world=world, folders=(folder(tmp_path),)))
    assert (outcome.status, outcome.message) == ("pass", "the filesystems make inodes as they need them")


def test_a_folder_that_is_not_there_yet_is_judged_by_its_parent(tmp_path):
    assert find_existing(tmp_path / "a" / "b" / "c") == tmp_path


def test_folders_that_can_be_written_pass(make_context, tmp_path):
    context = make_context(folders=(folder(tmp_path / "new"),), world={"uid": os.geteuid()})
    assert check_folders.run(context).status == "pass"


def test_a_folder_of_somebody_else_fails_with_the_command_that_gives_it_back(make_context, tmp_path):
    context = make_context(folders=(folder(tmp_path),), world={"access": lambda path, mode: False, "uid": 4242})
    outcome = check_folders.run(context)
    assert outcome.status == "fail"
    assert f"this user (uid 4242) may not write in {tmp_path}, which belongs to " in outcome.message
    assert outcome.hint == f"sudo chown -R 4242 '{tmp_path}', or choose another place: `model.volume`"


def test_a_filesystem_mounted_read_only_fails(make_context, tmp_path):
    world = {"statvfs": lambda path: give_filesystem(80 * GIB, is_read_only=True)}
    outcome = check_folders.run(make_context(folders=(folder(tmp_path),), world=world))
    assert (outcome.status, "mounted read-only" in outcome.message) == ("fail", True)


def test_a_file_in_a_folders_place_fails(make_context, tmp_path):
    (tmp_path / "models").write_text("")
    assert check_folders.run(make_context(folders=(folder(tmp_path / "models" / "hub"),))).status == "fail"


def test_all_folders_that_fail_are_reported_at_once(make_context, tmp_path):
    needs = (folder(tmp_path), FolderNeed("state", tmp_path, "STACK_STATE_HOME"))
    message = check_folders.run(make_context(folders=needs, world={"access": lambda path, mode: False})).message
    assert message.startswith("models (")
    assert "; state (" in message


def test_a_folder_of_the_engine_need_not_be_ours(make_context, tmp_path):
    need = FolderNeed("caches", tmp_path, "`engine.cache-dir`", engine_uid=tmp_path.stat().st_uid)
    world = {"access": lambda path, mode: False, "uid": 4242}
    assert check_folders.run(make_context(folders=(need,), world=world)).status == "pass"


def test_what_a_container_left_behind_as_another_user_is_found(make_context, tmp_path):
    (tmp_path / "models" / "deep").mkdir(parents=True)
    (tmp_path / "models" / "deep" / "file").write_text("")
    outcome = check_folders.run(make_context(folders=(folder(tmp_path / "models"),), world={"uid": 4242}))
    assert outcome.status == "warn"
    assert f"{tmp_path / 'models/deep'} belongs to " in outcome.message
    assert outcome.message.endswith("so this user (uid 4242) may not change it (2 such)")


def test_a_cache_that_the_engine_may_not_write_is_found_also_for_root(make_context, tmp_path):
    (tmp_path / "file").write_text("")
    need = FolderNeed("caches", tmp_path, "`engine.cache-dir`", engine_uid=2000)
    outcome = check_folders.run(make_context(folders=(need,), world={"uid": tmp_path.stat().st_uid}))
    assert "the engine (uid 2000) may not change it" in outcome.message
