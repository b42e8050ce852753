from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.errors import ModelError
from stack.models.snapshot import (
    FileRecord,
    FileStat,
    Snapshot,
    SnapshotKey,
    build_content_revision,
    build_key_text,
    build_snapshot_folder,
    is_safe_name,
    load_snapshot,
    parse_manifest,
    render_manifest,
)

COMMIT = "a" * 40


def build_snapshot(folder: Path, **changes) -> Snapshot:
    values = {
        "kind": "hub",
        "id": "acme/tiny",
        "revision": COMMIT,
        "path": folder / "files",
        "files": (FileRecord("config.json", 2, "0" * 64), FileRecord("model.safetensors", 8, "1" * 64)),
        "served_name": "acme/tiny",
        "mount_root": folder / "files",
        "stats": {"config.json": FileStat(2, 5, 7), "model.safetensors": FileStat(8, 6, 8)},
    }
    return Snapshot(**(values | changes))


def test_a_manifest_tells_the_snapshot_again(tmp_path):
    snapshot = build_snapshot(tmp_path)
    again = parse_manifest(render_manifest(snapshot), tmp_path)
    assert again == snapshot
    assert again.stats == snapshot.stats


def test_a_manifest_of_a_directory_keeps_where_the_files_lie(tmp_path):
    snapshot = build_snapshot(tmp_path, kind="directory", path=Path("/m/snapshots/x"), mount_root=Path("/m"))
    again = parse_manifest(render_manifest(snapshot), tmp_path)
    assert (again.path, again.mount_root, str(again.path_in_mount)) == (
        Path("/m/snapshots/x"),
        Path("/m"),
        "snapshots/x",
    )


def test_sizes_are_those_of_all_files_and_of_the_weights(tmp_path):
    snapshot = build_snapshot(tmp_path)
    assert (snapshot.size_bytes, snapshot.weights_bytes) == (10, 8)


def test_a_manifest_of_a_newer_tool_is_refused(tmp_path):
    text = json.dumps(json.loads(render_manifest(build_snapshot(tmp_path))) | {"schema_version": 99})
    with pytest.raises(ModelError, match="schema_version 99"):
        parse_manifest(text, tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema_version": 1}'])
def test_a_damaged_manifest_is_refused_with_what_to_remove(tmp_path, text):
    with pytest.raises(ModelError) as caught:
        parse_manifest(text, tmp_path)
    assert str(tmp_path) in caught.value.hint


def test_a_manifest_naming_a_file_outside_is_refused(tmp_path):
    files = (FileRecord("../../etc/passwd", 2, "0" * 64),)
    with pytest.raises(ModelError, match="unsafe"):
        parse_manifest(render_manifest(build_snapshot(tmp_path, files=files)), tmp_path)


def test_no_manifest_is_no_snapshot(tmp_path):
    assert load_snapshot(tmp_path / "nothing") is None


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "", "a\x00b"])
def test_a_name_that_leaves_the_directory_is_unsafe(name):
    assert not is_safe_name(name)


def test_the_same_files_give_the_same_revision_in_any_order():
    one, two = FileRecord("a", 1, "0" * 64), FileRecord("b", 2, "1" * 64)
    assert build_content_revision([one, two]) == build_content_revision([two, one])
    assert build_content_revision([one]) != build_content_revision([two])


def test_no_path_on_the_volume_holds_a_colon():
    # Docker's short mount syntax splits at colons.
    for key in (
        SnapshotKey("hub", "a/b", COMMIT),
        SnapshotKey("demo", "d", "sha256:" + "0" * 64),
        SnapshotKey("directory", "/a:b", "sha256:" + "0" * 64),
    ):
        assert ":" not in str(build_snapshot_folder(Path("/v"), key))


_PART = st.from_regex(r"\A[a-z0-9](-?[a-z0-9.]){0,6}\Z")


@given(st.lists(st.tuples(_PART, _PART, st.sampled_from(["a" * 40, "b" * 40])), min_size=2, max_size=2, unique=True))
def test_two_hub_snapshots_never_share_a_folder_or_a_lock(rows):
    first, second = (SnapshotKey("hub", f"{org}/{name}", commit) for org, name, commit in rows)
    assert build_snapshot_folder(Path("/v"), first) != build_snapshot_folder(Path("/v"), second)
    assert build_key_text(first) != build_key_text(second)
