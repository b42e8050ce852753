"""Compile caches go into their own folder and nowhere else."""

import os

import pytest

from stack.bundles.manifest import BundleFile
from stack.bundles.names import build_blob_path
from stack.bundles.problem import BundleError
from stack.operations.bundle.caches import take_caches
from stack.operations.bundle.open import OpenBundle, open_bundle
from tests.unit.bundles.conftest import CACHES, build_bundle, sha256, write_bundle

((_, BODY),) = CACHES.items()


@pytest.fixture
def take(tmp_path):
    """A function: takes the same body under names of the test's choice."""
    source = open_bundle(write_bundle(tmp_path / "dir")).source
    (tmp_path / "caches").mkdir()
    (tmp_path / "outside").mkdir()

    def call(*names, digest=None, told=None):
        path = build_blob_path(sha256(BODY))
        size, digest = len(BODY), digest or sha256(BODY)
        files = [BundleFile(path=path, part="cache", name=name, size_bytes=size, sha256=digest) for name in names]
        opened = OpenBundle(source, build_bundle(files=tuple(files)))
        return take_caches(tmp_path / "caches", opened, os.geteuid(), (told if told is not None else []).append)

    return call


def list_files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def test_files_come_to_their_place_and_their_bytes_are_told(take, tmp_path):
    told, longest = [], "n" * 255
    assert take("a/b/c", longest, told=told) == 2
    assert list_files(tmp_path / "caches") == {"a/b/c", longest}
    assert (tmp_path / "caches/a/b/c").read_bytes() == BODY
    assert [event.completed_bytes for event in told] == [len(BODY), 2 * len(BODY), 2 * len(BODY)]
    assert told[-1].state == "done" and told[-1].total_bytes == 2 * len(BODY)


def test_what_is_there_stays(take, tmp_path):
    (tmp_path / "caches/a").mkdir()
    (tmp_path / "caches/a/b").write_bytes(b"mine")
    take("a/b")
    assert (tmp_path / "caches/a/b").read_bytes() == b"mine"


@pytest.mark.parametrize("link", ["a", "a/b"])
def test_a_link_on_the_way_leads_nobody_out(take, tmp_path, link):
    (tmp_path / "caches" / link).parent.mkdir(exist_ok=True)
    (tmp_path / "caches" / link).symlink_to(tmp_path / "outside")
    with pytest.raises(BundleError, match="caches/a/b/c cannot be written"):
        take("a/b/c")
    assert list_files(tmp_path / "outside") == set()


def test_a_link_in_the_place_of_the_file_or_its_draft_is_not_written_through(take, tmp_path):
    for name in ("c", ".bundle-draft"):
        (tmp_path / "caches" / name).symlink_to(tmp_path / "outside" / name)
    take("c", "d")
    assert list_files(tmp_path / "outside") == set()
    assert (tmp_path / "caches/c").is_symlink() and (tmp_path / "caches/d").read_bytes() == BODY


def test_a_file_in_the_place_of_a_folder_is_told(take, tmp_path):
    (tmp_path / "caches/a").write_bytes(b"")
    with pytest.raises(BundleError, match="cannot be written") as caught:
        take("a/b")
    assert "rm -r" in caught.value.hint


def test_other_bytes_than_those_that_were_hashed_leave_nothing(take, tmp_path):
    with pytest.raises(BundleError, match="changed while it was loaded"):
        take("a/b", digest="0" * 64)
    assert list_files(tmp_path / "caches") == set()
