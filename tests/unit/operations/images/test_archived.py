"""What the archive means to `up`: asked last, believed only as far as a manifest's own bytes go."""

import json

import pytest

from stack.config.lock import Lock, LockedImage
from stack.config.schema import ImagesConfig
from stack.errors import ImageError
from stack.images.archive_layout import ArchivedImage
from stack.images.archive_store import Archive
from stack.images.manifests import MANIFEST_TYPES
from stack.images.reference import parse_reference
from stack.images.references import WantedImage
from stack.images.registry_errors import MissingImageError, UnreachableRegistryError
from stack.operations.images.archived import find_archived_ids, mark_kept, read_archived, use_archive
from stack.operations.images.needs import ImageNeed

DIGEST = "sha256:" + "a" * 64
IMAGE = ArchivedImage(DIGEST, MANIFEST_TYPES[0], 1, "docker.io/a/b:c", f"docker.io/a/b@{DIGEST}", DIGEST, DIGEST, ())
PULL = ImageNeed(
    "engine", "pull", f"docker.io/a/b@{DIGEST}", "it is not here by its digest", "registry",
    WantedImage("engine", parse_reference(f"docker.io/a/b:c@{DIGEST}"), None),
)  # fmt: skip


@pytest.fixture
def take():
    """A function: what the registry answers gives action, cause and what was asked."""

    def call(answer, need=PULL, images=None, mirror=None):
        asked = []

        def fetch(reference):
            asked.append(str(reference))
            if isinstance(answer, Exception):
                raise answer
            return answer

        found = use_archive({"engine": need}, {DIGEST: IMAGE} if images is None else images, mirror or {}, fetch)
        return found["engine"].action, found["engine"].cause, asked

    return call


def test_what_the_registry_still_serves_is_pulled(take):
    assert take(DIGEST) == ("pull", PULL.cause, [f"docker.io/a/b@{DIGEST}"])


def test_what_no_registry_has_any_more_is_loaded_and_the_reason_is_told(take):
    action, cause, _ = take(MissingImageError("HTTP 404"))
    assert action == "load"
    assert cause == "it is not here by its digest, and docker.io does not serve it any more"


def test_a_registry_that_cannot_be_asked_is_one_that_does_not_serve(take):
    _, cause, asked = take(UnreachableRegistryError("it is not reachable"), mirror={"docker.io": "mirror.example"})
    assert cause.endswith("and mirror.example does not: it is not reachable")
    assert asked == [f"mirror.example/a/b@{DIGEST}"]


@pytest.mark.parametrize("images", [{}, {"sha256:" + "b" * 64: IMAGE}])
def test_nobody_is_asked_for_what_the_archive_does_not_have(take, images):
    assert take(MissingImageError("no"), images=images) == ("pull", PULL.cause, [])


def test_what_is_here_or_built_is_left_alone(take):
    need = ImageNeed("engine", "none", "x", "it is here", "registry", PULL.wanted)
    assert take(MissingImageError("no"), need) == ("none", "it is here", [])
    built = ImageNeed("engine", "build", "x", "no image", "packages")
    assert take(MissingImageError("no"), built) == ("build", "no image", [])


@pytest.fixture
def archive(tmp_path):
    return Archive(tmp_path / "images")


def keep(archive, config_digest=None):
    config = archive.put(b"{}")
    document = {"mediaType": MANIFEST_TYPES[0], "config": {"digest": config.digest, "size": 2}, "layers": []}
    manifest = archive.put(json.dumps(document).encode())
    image = ArchivedImage(
        manifest.digest, MANIFEST_TYPES[0], manifest.size_bytes, "docker.io/a/b:c", f"docker.io/a/b@{manifest.digest}",
        manifest.digest, config_digest or config.digest, (manifest, config),
    )  # fmt: skip
    entry = LockedImage(reference="other.example/x/y:z", digest=image.digest, source="registry")
    return image, Lock(images={"engine/cpu": entry})


def test_a_locked_digest_leads_to_the_image_id_under_the_locks_own_name(archive):
    image, lock = keep(archive)
    found = find_archived_ids(archive, {image.digest: image}, lock)
    assert found == {f"other.example/x/y@{image.digest}": image.image_id}


def test_an_id_that_the_manifest_does_not_lead_to_counts_for_nothing(archive):
    image, lock = keep(archive, "sha256:" + "e" * 64)
    assert find_archived_ids(archive, {image.digest: image}, lock) == {}
    image, lock = keep(archive)
    archive.blob_path(image.digest).write_bytes(b"{}")
    assert find_archived_ids(archive, {image.digest: image}, lock) == {}


def test_an_archive_that_cannot_be_read_is_told_and_keeps_nobody(archive):
    said = []
    assert read_archived(archive, said.append) == {} and said == []
    archive.root.mkdir()
    (archive.root / "index.json").write_text("{")
    assert read_archived(archive, said.append) == {}
    assert "index.json cannot be read" in said[0]
    with pytest.raises(ImageError):
        archive.read_images()


def locked(found_by):
    return LockedImage(reference="docker.io/a/b:c", digest=DIGEST, source="registry", found_by=found_by)


@pytest.mark.parametrize(
    ("archive", "found_by", "is_kept"),
    [
        (None, "nightly", True),
        (None, "release", False),
        (True, "release", True),
        (False, "nightly", False),
    ],
)
def test_what_upstream_deletes_is_kept_unless_the_configuration_says_otherwise(archive, found_by, is_kept):
    config = ImagesConfig(archive=archive)
    engine = mark_kept({"engine": PULL}, config, locked(found_by))["engine"]
    assert engine.is_kept is is_kept
    assert engine.cause.startswith(PULL.cause) and ("keeps it" in engine.cause) is is_kept


def test_only_a_pull_of_the_locked_digest_is_kept():
    config = ImagesConfig()
    other = locked("nightly").model_copy(update={"digest": "sha256:" + "b" * 64})
    assert not mark_kept({"engine": PULL}, config, other)["engine"].is_kept
    assert not mark_kept({"engine": PULL}, config, None)["engine"].is_kept
    here = ImageNeed("engine", "none", "x", "it is here", "registry", PULL.wanted)
    assert mark_kept({"engine": here}, ImagesConfig(archive=True), locked("nightly")) == {"engine": here}
    assert mark_kept({"prometheus": PULL}, ImagesConfig(archive=True), None) == {"prometheus": PULL}
