"""What a prune drops, by what the known locks say; what cannot be read is not taken for unused."""

import datetime

import pytest

from stack.config.lock import Lock, LockedImage, render_lock, write_lock
from stack.history.records import BootStart
from stack.history.store import open_history
from stack.images.archive_layout import ArchivedImage
from stack.images.archive_store import Archive
from stack.images.archive_verify import judge_use
from stack.images.manifests import MANIFEST_TYPES
from stack.operations.pin.archive import read_lock_state, run_prune

USED, SPARE = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def make(digest, *blobs, locks=()):
    return ArchivedImage(
        digest, MANIFEST_TYPES[0], 1, "docker.io/a/b:c", f"docker.io/a/b@{digest}", digest, digest, blobs, locks=locks
    )


def judge(image, locks, **options):
    (verdict,) = judge_use([image], locks, **options)
    return verdict.is_used, verdict.reason


def test_an_image_that_a_lock_names_stays():
    assert judge(make(USED), {"/p/stack.lock": {USED}}) == (True, "used by /p/stack.lock")


@pytest.mark.parametrize("state", [{SPARE}, set(), None])
def test_an_image_whose_lock_names_another_or_is_gone_is_dropped(state):
    image = make(USED, locks=("/p/stack.lock",))
    assert judge(image, {"/p/stack.lock": state}) == (False, "no lock uses it")


def test_an_image_whose_lock_cannot_be_read_stays_unless_that_is_overridden():
    image, locks = make(USED, locks=("/p/stack.lock",)), {"/p/stack.lock": "cannot be read", "/q/stack.lock": {SPARE}}
    assert judge(image, locks) == (True, "/p/stack.lock cannot be read, and it used the image")
    assert judge(image, locks, anyway=True)[0] is False
    assert judge(make(USED), locks)[0] is False, "a lock that never used it says nothing of it"


def test_a_lock_is_read_gone_damaged_or_out_of_reach(tmp_path):
    path = tmp_path / "stack.lock"
    assert read_lock_state(path) is None
    write_lock(path, Lock(images={"engine/cpu": LockedImage(reference="a/b", digest=USED, source="registry")}))
    assert read_lock_state(path) == {USED}
    path.write_text("<<<<<<< mine")
    assert read_lock_state(path) == "cannot be read (it is damaged)"
    assert read_lock_state(tmp_path / "disk" / "stack.lock") == "cannot be read (its folder is not here)"


@pytest.fixture
def prepare(make_session, tmp_path):
    """A session whose lock uses one of two kept images, which share a blob; a stray blob and a partial one."""
    session = make_session(f'[images]\narchive-dir = "{tmp_path}/images"\n')
    archive = Archive(tmp_path / "images")
    shared, own, other = (archive.put(body) for body in (b"shared", b"own", b"other!"))
    images = [make(USED, shared, own), make(SPARE, shared, other)]
    archive.change_images(lambda found: found.update({image.digest: image for image in images}))
    archive.put(b"stray")
    (archive.root / "partial").mkdir()
    for name in (own.digest, "sha256:" + "e" * 64):
        archive.partial_path(name).write_bytes(b"12")
    entry = LockedImage(reference="docker.io/a/b", digest=USED, source="registry")
    write_lock(session.lock_path, Lock(images={"engine/cpu": entry}))
    return session, archive, [path.name for path in (archive.root / "blobs/sha256").iterdir()], (shared, own)


def test_a_prune_drops_what_no_image_left_has(prepare):
    session, archive, before, kept = prepare
    result = run_prune(session)
    assert {item.image.digest: item.is_used for item in result.verdicts} == {USED: True, SPARE: False}
    assert result.freed_bytes == len(b"other!") + len(b"stray") + 2
    left = {path.name for path in (archive.root / "blobs/sha256").iterdir()}
    assert left == {blob.digest.removeprefix("sha256:") for blob in kept} and len(before) == 4
    assert list(archive.read_images()) == [USED]
    assert [path.name for path in (archive.root / "partial").iterdir()] == [kept[1].digest.removeprefix("sha256:")]


def test_a_dry_run_says_the_same_and_drops_nothing(prepare):
    session, archive, before, _ = prepare
    result = run_prune(session, dry_run=True)
    assert (result.freed_bytes, result.is_dry_run) == (13, True)
    assert [path.name for path in (archive.root / "blobs/sha256").iterdir()] == before
    assert set(archive.read_images()) == {USED, SPARE}


def test_an_archive_that_was_never_filled_has_nothing_to_drop(make_session, tmp_path):
    result = run_prune(make_session(f'[images]\narchive-dir = "{tmp_path}/none"\n'))
    assert (result.verdicts, result.freed_bytes) == ([], 0) and not (tmp_path / "none").exists()


def test_a_lock_that_only_the_state_has_counts(prepare):
    session, archive, _, _ = prepare
    other = session.paths.state.parent / "other"
    other.mkdir(parents=True)
    entry = LockedImage(reference="docker.io/a/b", digest=SPARE, source="registry")
    write_lock(other / "stack.lock", Lock(images={"engine/cpu": entry}))
    assert all(item.is_used for item in run_prune(session).verdicts)


def test_what_a_rollback_can_return_to_is_not_dropped(prepare):
    session, archive, _, _ = prepare
    now = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
    entry = LockedImage(reference="docker.io/a/b", digest=SPARE, source="registry")
    history = open_history(session.paths.history)
    lock = history.note_lock(render_lock(Lock(images={"engine/cpu": entry})), now)
    start = BootStart(
        kind="k", started_at=now, commit=None, commit_level="unknown", version=None, image_digest=None, image_id="x",
        model="demo", revision=None, device="cpu", lock_sha256=lock,
    )  # fmt: skip
    history.record_smoke(history.record_boot(start), started_at=now, passed=True, report={})
    reasons = {item.image.digest: item.reason for item in run_prune(session).verdicts}
    assert reasons[SPARE] == f"used by `stack rollback` of project `{session.project}`"
    assert set(archive.read_images()) == {USED, SPARE}
