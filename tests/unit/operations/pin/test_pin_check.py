"""Whether what is pinned can still be had, by what registries and the daemon say."""

import datetime
from types import SimpleNamespace

import pytest

from stack.config.lock import LockedImage
from stack.errors import ImageError
from stack.images.registry_errors import MissingImageError
from stack.operations.pin.check import PinWitness, check_entry

DIGEST, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
NOW = datetime.datetime(2026, 11, 20, tzinfo=datetime.UTC)
ENTRY = LockedImage(
    reference="docker.io/a/b:c", tag="c", digest=DIGEST, source="registry", found_by="nightly",
    created="2026-11-18T00:00:00Z",
)  # fmt: skip


def check(answers, *, here=(), entry=ENTRY, mirror=None, image_ids=None, now=NOW, archived=()):
    def fetch(reference):
        found = answers[str(reference)]
        if isinstance(found, Exception):
            raise found
        return found

    images = dict.fromkeys(here, {"Id": "x"})
    kept = {digest: SimpleNamespace(total_bytes=10**9) for digest in archived}
    witness = PinWitness(fetch, images.get, mirror or {}, image_ids or {}, now, kept.get)
    return {item.check: (item.status, item.message) for item in check_entry("cpu", entry, witness)}


NAME, TAG = f"docker.io/a/b@{DIGEST}", "docker.io/a/b:c"


def test_what_is_served_and_pointed_at_passes_and_its_end_is_told():
    found = check({NAME: DIGEST, TAG: DIGEST})
    assert [status for status, _ in found.values()] == ["skip", "warn", "pass", "pass", "pass"]
    assert "its tag is deleted about 2026-12-02" in found["expiry-cpu"][1]


@pytest.mark.parametrize("days", [10, 20])
def test_a_nightly_near_its_end_warns(days):
    assert check({NAME: DIGEST, TAG: DIGEST}, now=NOW + datetime.timedelta(days=days))["expiry-cpu"][0] == "warn"


def test_a_tag_that_moved_or_went_changes_nothing_but_is_told():
    assert check({NAME: DIGEST, TAG: OTHER})["tag-cpu"] == ("warn", f"the tag c was moved to {OTHER}")
    assert check({NAME: DIGEST, TAG: MissingImageError("no")})["tag-cpu"][0] == "warn"


def test_a_digest_that_is_gone_fails_unless_the_image_is_here():
    gone = {NAME: MissingImageError("no"), TAG: MissingImageError("no")}
    assert check(gone)["reachable-cpu"] == ("fail", f"docker.io does not have {DIGEST} any more")
    found = check(gone, here=[NAME])
    assert (found["here-cpu"][0], found["reachable-cpu"][0]) == ("pass", "warn")


def test_a_registry_that_does_not_tell_fails_unless_the_image_is_here():
    silent = {NAME: ImageError("docker.io is not reachable"), TAG: ImageError("docker.io is not reachable")}
    assert check(silent)["reachable-cpu"] == ("fail", "docker.io is not reachable")
    assert check(silent)["tag-cpu"][0] == "skip"
    assert check(silent, here=[NAME])["reachable-cpu"][0] == "warn"


def test_the_mirror_is_asked_and_its_copy_counts_as_here():
    mirrored = f"mirror.example/a/b@{DIGEST}"
    answers = {mirrored: DIGEST, "mirror.example/a/b:c": DIGEST}
    found = check(answers, here=[mirrored], mirror={"docker.io": "mirror.example"})
    assert [found[f"{name}-cpu"][0] for name in ("here", "reachable", "tag")] == ["pass"] * 3


def test_an_image_is_here_by_its_recorded_id():
    found = check({NAME: DIGEST, TAG: DIGEST}, here=["sha256:id"], image_ids={NAME: "sha256:id"})
    assert found["here-cpu"][0] == "pass"


def test_an_image_pinned_by_its_digest_alone_has_no_tag_to_move():
    entry = ENTRY.model_copy(update={"reference": "docker.io/a/b", "tag": None, "found_by": "named"})
    found = check({NAME: DIGEST}, entry=entry)
    assert (found["tag-cpu"][0], found["expiry-cpu"][0]) == ("skip", "pass")


def test_an_engine_that_is_built_here_is_here_or_will_be_built():
    entry = LockedImage(reference="localhost/stack/engine:x", source="packages")
    assert check({}, entry=entry) == {
        "here-cpu": ("warn", "localhost/stack/engine:x is not here; `stack up` builds it")
    }
    assert check({}, entry=entry, here=["localhost/stack/engine:x"])["here-cpu"][0] == "pass"


def test_an_image_in_the_archive_outlives_registry_and_tag():
    gone = {NAME: MissingImageError("no"), TAG: MissingImageError("no")}
    found = check(gone, archived=[DIGEST], now=NOW + datetime.timedelta(days=10))
    assert found["archive-cpu"] == ("pass", "the archive has it (1.00 GB)")
    assert found["reachable-cpu"] == ("warn", f"docker.io does not have {DIGEST} any more; the archive has it")
    assert found["expiry-cpu"][0] == "pass"
    silent = {NAME: ImageError("docker.io is not reachable"), TAG: ImageError("docker.io is not reachable")}
    assert check(silent, archived=[DIGEST])["reachable-cpu"][0] == "warn"


def test_only_what_upstream_deletes_is_urged_into_the_archive():
    entry = ENTRY.model_copy(update={"found_by": "release"})
    assert check({NAME: DIGEST, TAG: DIGEST}, entry=entry)["archive-cpu"][0] == "skip"
    assert check({NAME: DIGEST, TAG: DIGEST})["archive-cpu"][0] == "warn"
