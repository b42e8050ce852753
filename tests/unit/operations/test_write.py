"""Files that are written whole or not at all, and what is told where one cannot be."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from stack.errors import StackError
from stack.operations.write import demand_writable, write_whole


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def list_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_whole_with_its_mode_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "deep/er/file"
    assert write_whole(path, "text\n", mode=0o600)
    assert (path.read_text(), mode(path)) == ("text\n", 0o600)
    assert list_names(path.parent) == ["file"]


def test_the_same_text_is_not_written_again(tmp_path):
    path = tmp_path / "file"
    write_whole(path, "text")
    before = path.stat().st_ino
    assert not write_whole(path, "text")
    assert path.stat().st_ino == before


@pytest.mark.parametrize("changed", [{"text": "other"}, {"mode": 0o600}])
def test_another_text_or_mode_replaces_the_file(tmp_path, changed):
    path = tmp_path / "file"
    write_whole(path, "text")
    assert write_whole(path, **({"text": "text"} | changed))
    assert path.read_text() == changed.get("text", "text")
    assert mode(path) == changed.get("mode", 0o644)


def test_a_file_that_is_no_text_is_replaced(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"\xff\x00")
    assert write_whole(path, "text")
    assert path.read_text() == "text"


def test_who_reads_sees_the_old_text_until_the_new_one_is_there(tmp_path):
    path = tmp_path / "file"
    write_whole(path, "old")
    with path.open() as reader:
        write_whole(path, "new")
        assert reader.read() == "old"
    assert path.read_text() == "new"


def test_a_file_that_could_be_written_is_as_it_was_and_nothing_is_beside_it(tmp_path):
    demand_writable(tmp_path / "deep/er/new")
    assert list_names(tmp_path / "deep/er") == []
    (tmp_path / "file").write_text("old")
    demand_writable(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "old"


def test_a_file_that_could_not_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError, match="page.html cannot be written"):
        demand_writable(tmp_path / "file/page.html")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_whole(path, "old")
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StackError) as caught:
        write_whole(path, "new")
    assert caught.value.message == f"{path} cannot be written: the disk is full"
    assert f"df -h '{tmp_path}'" in caught.value.hint
    assert path.read_text() == "old"
    assert list_names(tmp_path) == ["file"]


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StackError, match="cannot be written: "):
        write_whole(tmp_path / "file" / "below", "text")
