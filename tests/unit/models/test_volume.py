from __future__ import annotations

import errno

import pytest

from stack.errors import ModelError
from stack.models.snapshot import SnapshotKey, build_key_text
from stack.models.volume import hold_lock, is_locked, translate_os_errors, try_lock
from stack.progress import ignore

KEY = SnapshotKey("hub", "acme/tiny", "a" * 40)


def test_a_lock_is_held_by_one_and_free_again_after(tmp_path):
    name = build_key_text(KEY)
    assert not is_locked(tmp_path, name)
    with hold_lock(tmp_path, KEY, ignore, "test"):
        assert is_locked(tmp_path, name)
        with try_lock(tmp_path, name) as is_ours:
            assert not is_ours
    assert not is_locked(tmp_path, name)


def test_who_waits_for_a_lock_says_so_until_it_is_free(tmp_path):
    said = []
    holder = hold_lock(tmp_path, KEY, ignore, "test")
    holder.__enter__()
    with hold_lock(tmp_path, KEY, said.append, "test", sleep=lambda seconds: holder.__exit__(None, None, None)):
        assert [event.text for event in said] == ["waiting for another process that is fetching acme/tiny"]


@pytest.mark.parametrize(
    ("number", "said", "hint"),
    [
        (errno.ENOSPC, "the disk is full", "--prune"),
        (errno.EDQUOT, "the disk is full", "--prune"),
        (errno.EACCES, "Permission denied", "model.volume"),
        (errno.EROFS, "Read-only", "model.volume"),
        (errno.EIO, "Input/output error", None),
    ],
)
def test_what_the_file_system_refuses_is_explained(number, said, hint):
    import os

    with pytest.raises(ModelError) as caught, translate_os_errors("cannot write /v"):
        raise OSError(number, os.strerror(number), "/v/x")
    assert caught.value.message.startswith("cannot write /v: ")
    assert said in caught.value.message
    assert (hint or "") in (caught.value.hint or "")
