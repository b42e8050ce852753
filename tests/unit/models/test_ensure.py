from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading

import pytest

from stack.errors import ModelError
from stack.models.demo import DEMO_REVISION
from stack.models.find import find_snapshot
from stack.models.reference import parse_model_reference
from stack.models.snapshot import build_snapshot_folder, load_snapshot

from .conftest import build_model_files, write_files

SHARD = "model-00001-of-00002.safetensors"


def flip_first_byte_of_the_data(path) -> None:
    with path.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        last = stream.read(1)
        stream.seek(-1, os.SEEK_END)
        stream.write(bytes([last[0] ^ 1]))


def test_a_cut_file_is_said_and_fetched_again_alone(hub, ensure, events):
    model = hub.add_model("acme/tiny", build_model_files())
    snapshot = ensure()
    with (snapshot.path / SHARD).open("r+b") as stream:
        stream.truncate(100)
    hub.requests.clear()
    again = ensure(locked_revision=model.commit)
    assert (again.path / SHARD).read_bytes() == model.files[SHARD]
    assert hub.count("/resolve/") == 1
    assert any(SHARD in event.text and "was cut" in event.text for event in events)


def test_a_file_with_other_bytes_of_the_same_length_is_fetched_again(hub, ensure):
    model = hub.add_model("acme/tiny", build_model_files())
    snapshot = ensure()
    flip_first_byte_of_the_data(snapshot.path / SHARD)
    ensure()
    assert (snapshot.path / SHARD).read_bytes() == model.files[SHARD]


def test_bytes_that_changed_behind_the_files_times_are_fetched_again_where_every_file_is_hashed(hub, ensure):
    model = hub.add_model("acme/tiny", build_model_files())
    snapshot = ensure()
    status = (snapshot.path / SHARD).stat()
    flip_first_byte_of_the_data(snapshot.path / SHARD)
    os.utime(snapshot.path / SHARD, ns=(status.st_atime_ns, status.st_mtime_ns))
    hub.requests.clear()
    ensure(revision=model.commit)
    assert hub.requests == []
    ensure(revision=model.commit, deep=True)
    assert (snapshot.path / SHARD).read_bytes() == model.files[SHARD]
    assert hub.count("/resolve/") == 1


def test_a_file_that_is_gone_comes_back_and_one_that_was_added_goes(hub, ensure):
    hub.add_model("acme/tiny", build_model_files())
    snapshot = ensure()
    (snapshot.path / "config.json").unlink()
    (snapshot.path / "extra.safetensors").write_bytes(b"x")
    ensure()
    assert (snapshot.path / "config.json").is_file()
    assert not (snapshot.path / "extra.safetensors").exists()


def test_a_damaged_snapshot_is_refused_when_nothing_can_be_fetched(hub, ensure):
    model = hub.add_model("acme/tiny", build_model_files())
    snapshot = ensure()
    (snapshot.path / SHARD).unlink()
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE"):
        ensure(revision=model.commit, environ={"HF_HUB_OFFLINE": "1"})
    assert snapshot.path.is_dir()


def test_a_volume_that_was_copied_is_hashed_once_and_then_trusted(hub, ensure, tmp_path, events):
    model = hub.add_model("acme/tiny", build_model_files())
    ensure()
    shutil.copytree(tmp_path / "volume", tmp_path / "copy", copy_function=shutil.copyfile)
    hub.requests.clear()
    settings = {"volume": tmp_path / "copy", "revision": model.commit}
    snapshot = ensure(**settings)
    assert snapshot.path.is_relative_to(tmp_path / "copy")
    assert any("files hashed, 0 changed" in event.text for event in events)
    events.clear()
    assert ensure(**settings) == snapshot
    assert [event.state for event in events] == ["skipped"]
    assert hub.requests == []


def test_a_folder_with_another_models_manifest_is_refused(hub, ensure, tmp_path):
    model = hub.add_model("acme/tiny", build_model_files())
    snapshot = ensure()
    other = build_snapshot_folder(tmp_path / "volume", snapshot.key._replace(id="acme/other"))
    shutil.copytree(snapshot.path.parent, other)
    with pytest.raises(ModelError, match="holds acme/tiny"):
        ensure("acme/other", revision=model.commit)


def test_nothing_is_left_in_staging_after_a_landing(hub, ensure, tmp_path):
    hub.add_model("acme/tiny", build_model_files())
    snapshot = ensure()
    assert list((tmp_path / "volume" / ".staging").iterdir()) == []
    assert load_snapshot(snapshot.path.parent) == snapshot


def test_a_directory_whose_files_are_not_the_locked_ones_is_refused(ensure, tmp_path):
    folder = write_files(tmp_path / "model", build_model_files())
    (folder / "model.safetensors.index.json").unlink()
    first = ensure(str(folder))
    assert ensure(str(folder), locked_revision=first.revision) == first
    (folder / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="not the locked ones"):
        ensure(str(folder), locked_revision=first.revision)
    assert ensure(str(folder)).revision != first.revision


def test_a_directory_has_no_branch(ensure, tmp_path):
    folder = write_files(tmp_path / "model", build_model_files())
    with pytest.raises(ModelError, match="no revision"):
        ensure(str(folder), revision="main")


def test_another_revision_of_the_demo_model_is_refused(ensure):
    with pytest.raises(ModelError, match="demo model is"):
        ensure("demo", revision="main")
    with pytest.raises(ModelError, match="demo model is"):
        ensure("demo", locked_revision=DEMO_REVISION.replace("2", "3"))


def test_the_demo_model_needs_room_too(ensure):
    with pytest.raises(ModelError, match="free, the model needs"):
        ensure("demo", free_bytes=lambda path: 1000)


def test_a_snapshot_is_found_without_asking_only_by_a_revision_that_cannot_move(hub, ensure, tmp_path):
    model = hub.add_model("acme/tiny", build_model_files())
    reference, volume = parse_model_reference("acme/tiny"), tmp_path / "volume"
    assert find_snapshot(reference, revision=model.commit, volume=volume) is None
    snapshot = ensure()
    hub.requests.clear()
    assert find_snapshot(reference, revision=model.commit, volume=volume) == snapshot
    assert find_snapshot(reference, revision="main", volume=volume) is None
    (snapshot.path / SHARD).unlink()
    assert find_snapshot(reference, revision=model.commit, volume=volume) is None
    assert hub.requests == []


def test_a_directory_is_found_while_it_is_the_one_that_was_hashed(ensure, tmp_path):
    folder = write_files(tmp_path / "model", build_model_files())
    reference, volume = parse_model_reference(str(folder)), tmp_path / "volume"
    snapshot = ensure(str(folder))
    assert find_snapshot(reference, revision=None, volume=volume) == snapshot
    assert find_snapshot(reference, revision="sha256:other", volume=volume) is None
    (folder / "config.json").write_text("{}")
    assert find_snapshot(reference, revision=None, volume=volume) is None


INTERRUPTED = """
import sys
from pathlib import Path
from stack.models.ensure import ensure_snapshot
from stack.models.reference import parse_model_reference
try:
    ensure_snapshot(
        parse_model_reference("acme/tiny"), revision=None, volume=Path(sys.argv[2]), endpoint=sys.argv[1],
        token=None, environ={}, report=lambda event: None,
    )
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_an_interrupt_in_the_middle_leaves_nothing_half_and_the_next_run_goes_on(hub, ensure, tmp_path):
    model = hub.add_model("acme/tiny", build_model_files(4_000_000))
    gate = threading.Event()
    hub.hold("/storage/", gate)
    argv = [sys.executable, "-c", INTERRUPTED, hub.endpoint, str(tmp_path / "volume")]
    with subprocess.Popen(argv) as process:
        while hub.count("/storage/") == 0:
            threading.Event().wait(0.01)
        process.send_signal(signal.SIGINT)
        gate.set()
        assert process.wait(60) == 130
    assert not (tmp_path / "volume" / "hub").exists()
    hub.requests.clear()
    snapshot = ensure()
    assert hub.count("tokenizer.json") == 0
    assert (snapshot.path / SHARD).read_bytes() == model.files[SHARD]


@pytest.fixture
def small_disk(tmp_path):
    """Mount a disk of 1 MiB, and give its place and what makes it larger."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], check=True)
    yield place, lambda: subprocess.run(["mount", "-o", "remount,size=32m", str(place)], check=True)
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.root
def test_a_disk_that_fills_up_midway_is_told_and_the_download_goes_on_when_there_is_room(hub, ensure, small_disk):
    place, enlarge = small_disk
    hub.add_model("acme/tiny", build_model_files(4_000_000))
    with pytest.raises(ModelError, match="the disk is full"):
        ensure(volume=place, free_bytes=lambda path: 10**12)
    assert not (place / "hub").exists()
    enlarge()
    hub.requests.clear()
    assert ensure(volume=place, free_bytes=lambda path: 10**12).size_bytes > 4_000_000 - 1024
    assert hub.count("tokenizer.json") == 0
