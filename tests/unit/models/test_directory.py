from __future__ import annotations

import json
from pathlib import Path

import pytest

from stack.errors import ModelError
from stack.models.directory import find_unreadable, land_directory
from stack.progress import ignore

from .conftest import build_model_files, build_safetensors, write_files

SHARD = "model-00001-of-00002.safetensors"


@pytest.fixture
def folder(tmp_path):
    return write_files(tmp_path / "mine", build_model_files())


@pytest.fixture
def land(tmp_path, events):
    return lambda path: land_directory(path, volume=tmp_path / "volume", report=events.append)


def test_the_files_stay_where_they_are(land, folder):
    snapshot = land(folder)
    assert (snapshot.path, snapshot.mount_root, snapshot.served_name) == (folder, folder, "mine")
    assert snapshot.revision.startswith("sha256:")
    assert "pytorch_model.bin" not in {record.name for record in snapshot.files}


def test_the_second_time_nothing_is_hashed(land, folder, events):
    first = land(folder)
    events.clear()
    assert land(folder) == first
    assert [event.text for event in events if "hashing" in event.text] == []


def test_only_the_file_that_changed_is_hashed_again(land, folder, events):
    first = land(folder)
    (folder / "tokenizer.json").write_text("{}")
    events.clear()
    assert land(folder).revision != first.revision
    assert {event.total_bytes for event in events if "hashing" in event.text} == {2}


def test_the_same_files_elsewhere_have_the_same_revision(land, folder, tmp_path):
    other = write_files(tmp_path / "other", build_model_files())
    assert land(folder).revision == land(other).revision


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda f: (f / "config.json").unlink(), r"no config\.json"),
        (lambda f: (f / "config.json").write_text("{"), "not JSON"),
        (lambda f: (f / "config.json").write_text("[]"), "JSON object"),
        (lambda f: (f / SHARD).unlink(), f"lacks {SHARD}"),
        (
            lambda f: (f / SHARD).write_bytes(b"version https://git-lfs.github.com/spec/v1\n"),
            "pointer of git-lfs",
        ),
        (lambda f: (f / SHARD).write_bytes(b""), "not a safetensors file"),
        (lambda f: (f / SHARD).write_bytes((f / SHARD).read_bytes()[:-10]), "is damaged"),
        (
            lambda f: (f / SHARD).write_bytes(b"\x08" + bytes(7) + b"{notjson" + bytes(9)),
            "damaged safetensors",
        ),
        (lambda f: [p.unlink() for p in f.glob("*.safetensors")], r"no safetensors \(only \.bin\)"),
        (lambda f: (f / "chat_template.jinja").symlink_to("nowhere"), "leads nowhere"),
    ],
)
def test_what_is_missing_or_damaged_is_named(land, folder, break_it, message):
    break_it(folder)
    with pytest.raises(ModelError, match=message):
        land(folder)


def test_a_directory_that_is_not_there_is_named(land, tmp_path):
    with pytest.raises(ModelError, match="there is no directory"):
        land(tmp_path / "none")


def test_a_file_in_place_of_a_directory_is_refused(land, tmp_path):
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match="not a directory"):
        land(tmp_path / "x.gguf")


def build_hub_cache(root: Path, *, shared: bool) -> Path:
    """Lay files out as huggingface_hub's cache does, its blobs optionally shared between repositories."""
    repo = root / "models--acme--tiny"
    place = repo / "snapshots" / ("a" * 40)
    place.mkdir(parents=True)
    files = {"config.json": b"{}", "model.safetensors": build_safetensors(bytes(64))}
    for number, (name, body) in enumerate(files.items()):
        write_files(repo / "blobs" if not shared else root / "blobs", {f"b{number}": body})
        (repo / "blobs").mkdir(exist_ok=True)
        if shared:
            (repo / "blobs" / f"b{number}").symlink_to(Path("../../blobs") / f"b{number}")
        (place / name).symlink_to(Path("../../blobs") / f"b{number}")
    return place


@pytest.mark.parametrize(
    ("shared", "root", "inside"),
    [
        (False, "models--acme--tiny", "snapshots/" + "a" * 40),
        (True, "", "models--acme--tiny/snapshots/" + "a" * 40),
    ],
)
def test_a_snapshot_of_a_hub_cache_is_mounted_with_its_blobs(land, tmp_path, shared, root, inside):
    place = build_hub_cache(tmp_path / "cache", shared=shared)
    snapshot = land(place)
    assert snapshot.mount_root == tmp_path / "cache" / root
    assert str(snapshot.path_in_mount) == inside
    assert [record.size_bytes for record in snapshot.files] == [
        2,
        (place / "model.safetensors").stat().st_size,
    ]


def test_a_link_inside_the_directory_needs_no_wider_mount(land, tmp_path):
    folder = write_files(tmp_path / "m", {"config.json": b"{}", "data/w": build_safetensors(bytes(8))})
    (folder / "model.safetensors").symlink_to("data/w")
    assert land(folder).mount_root == folder


def test_a_link_to_an_absolute_path_is_refused_with_what_to_do(land, tmp_path, folder):
    write_files(tmp_path / "nas", {"w": (folder / SHARD).read_bytes()})
    (folder / SHARD).unlink()
    (folder / SHARD).symlink_to(tmp_path / "nas" / "w")
    with pytest.raises(ModelError, match="absolute path") as caught:
        land(folder)
    assert "cp -rL" in caught.value.hint


def test_a_link_that_leads_far_away_is_refused(land, tmp_path):
    write_files(tmp_path / "nas", {"w": build_safetensors(bytes(8))})
    folder = write_files(tmp_path / "a" / "b" / "c" / "d" / "e", {"config.json": b"{}"})
    (folder / "model.safetensors").symlink_to("../../../../../nas/w")
    with pytest.raises(ModelError, match="far outside"):
        land(folder)


def test_a_directory_reached_through_a_link_is_mounted_where_it_really_is(land, tmp_path, folder):
    (tmp_path / "link").symlink_to(folder)
    snapshot = land(tmp_path / "link")
    assert (snapshot.id, snapshot.path) == (str(tmp_path / "link"), folder)


def test_an_index_that_is_no_index_is_refused(land, folder):
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": []}))
    with pytest.raises(ModelError, match="weight_map"):
        land(folder)


def test_files_that_another_user_cannot_read_are_named(land, folder):
    (folder / SHARD).chmod(0o600)
    (folder / "config.json").chmod(0o640)
    snapshot = land(folder)
    owner = (folder / SHARD).stat()
    stranger, group = owner.st_uid + 1, owner.st_gid
    assert find_unreadable(snapshot, owner.st_uid, {group}) == []
    assert find_unreadable(snapshot, stranger, {group}) == [SHARD]
    assert find_unreadable(snapshot, stranger, {group + 1}) == ["config.json", SHARD]


def test_a_volume_that_cannot_be_written_is_told(folder, tmp_path):
    (tmp_path / "volume").write_text("in the way")
    with pytest.raises(ModelError, match="cannot"):
        land_directory(folder, volume=tmp_path / "volume", report=ignore)
