"""A file appears whole or not at all, and nothing else is left beside it."""

from __future__ import annotations

import os
import subprocess

import pytest

from stack.files import replace_file


def fail(descriptor: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_reader_sees_the_old_bytes_until_the_new_ones_are_on_the_disk(tmp_path, monkeypatch):
    path = tmp_path / "stack.prom"
    replace_file(path, b"old")
    seen, real = [], os.fsync

    def look(descriptor):
        seen.append((path.read_bytes(), [item.name for item in tmp_path.glob("*.prom")]))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    replace_file(path, b"new")
    # First the file's bytes, then the folder's entry.
    assert seen == [(b"old", ["stack.prom"]), (b"new", ["stack.prom"])]
    assert [item.name for item in tmp_path.iterdir()] == ["stack.prom"]


@pytest.mark.parametrize("draft", [None, "draft"])
def test_a_disk_that_refuses_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, draft):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        replace_file(path, b"new", draft=tmp_path / draft if draft else None)
    assert path.read_bytes() == b"old" and [item.name for item in tmp_path.iterdir()] == ["file"]


def test_the_mode_is_what_was_asked_for_whatever_the_umask(tmp_path):
    old = os.umask(0o077)
    try:
        replace_file(tmp_path / "open", b"", mode=0o644)
        replace_file(tmp_path / "closed", b"", mode=0o600)
    finally:
        os.umask(old)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("open", "closed")] == [0o644, 0o600]


def test_what_a_crash_left_in_the_draft_is_written_over(tmp_path):
    draft = tmp_path / "draft"
    draft.write_bytes(b"longer than what comes")
    replace_file(tmp_path / "file", b"short", draft=draft)
    assert (tmp_path / "file").read_bytes() == b"short" and not draft.exists()


def test_a_draft_whose_writer_was_killed_goes_with_the_next_writing_and_others_stay(tmp_path):
    writer = subprocess.Popen(["sleep", "0"])
    writer.wait()
    left, other = (tmp_path / f".{name}.{writer.pid}.0a1b2c3d.partial" for name in ("file", "file2"))
    living = tmp_path / f".file.{os.getpid()}.0a1b2c3d.partial"
    for path in (left, other, living):
        path.write_bytes(b"half")
    replace_file(tmp_path / "file", b"whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["file", other.name, living.name])
