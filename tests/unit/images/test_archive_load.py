"""The stream for `docker load`, read back by tarfile, and the proof of what the daemon made of it."""

import io
import json
import tarfile
from dataclasses import replace
from types import SimpleNamespace

import docker.errors
import pytest
import requests

from stack.errors import ImageError
from stack.images.archive_layout import ArchivedImage
from stack.images.archive_load import build_stream, find_store, list_image_ids, load_image
from stack.images.archive_store import Archive, DamagedBlobError
from stack.images.manifests import INDEX_TYPES, MANIFEST_TYPES, compute_digest
from stack.images.reference import parse_reference
from stack.progress import ignore

CONTAINERD = {"DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}
CLASSIC = {"DriverStatus": [["Backing Filesystem", "extfs"], ["Supports d_type", "true"]]}
TAG = "registry.example/a/b:t"


@pytest.fixture
def archive(tmp_path):
    return Archive(tmp_path, sleep=lambda seconds: None)


@pytest.fixture
def image(archive):
    """An image of an index, whose manifest names one of its two layers twice."""
    layers = [archive.put(b"one" * 1000), archive.put(b"")]
    config = archive.put(b'{"config": {}}')
    manifest = archive.put(
        json.dumps(
            {
                "mediaType": MANIFEST_TYPES[0],
                "config": {"digest": config.digest, "size": config.size_bytes},
                "layers": [{"digest": blob.digest, "size": blob.size_bytes} for blob in (*layers, layers[0])],
            }
        ).encode()
    )
    index = archive.put(json.dumps({"manifests": [{"digest": manifest.digest}]}).encode())
    made = ArchivedImage(
        digest=index.digest, media_type=INDEX_TYPES[0], size_bytes=index.size_bytes, reference=TAG,
        served_by=f"registry.example/a/b@{index.digest}", platform_digest=manifest.digest, image_id=config.digest,
        blobs=(index, manifest, config, *layers),
    )  # fmt: skip
    archive.change_images(lambda images: images.update({made.digest: made}))
    return made


class FakeDaemon:
    """Has the images of `here` (name to ID), and gets those of `gets` with a load."""

    def __init__(self, here=None, gets=(), info=CLASSIC, lines=(), status=200):
        self.here, self.gets, self.lines, self.status = dict(here or {}), gets, lines, status
        self.sent = None
        self.info = lambda: info
        self.images = SimpleNamespace(get=self._get)
        self.api = SimpleNamespace(base_url="http+docker://x", api_version="1.41", post=self._post)

    def _get(self, name):
        if name not in self.here:
            raise docker.errors.ImageNotFound("no such image")
        return SimpleNamespace(id=self.here[name])

    def _post(self, url, *, data, headers, stream, timeout):
        assert url == "http+docker://x/v1.41/images/load"
        assert timeout is None
        self.sent = b"".join(data)
        self.here |= {image_id: image_id for image_id in self.gets}
        return Answer(self.lines, self.status)


class Answer:
    def __init__(self, lines, status):
        self.iter_lines, self.status_code = lambda: iter(lines), status

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        return None


def read_tar(body):
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar.getmembers()}


def test_the_stream_is_an_oci_layout_and_a_saved_image_at_once(archive, image):
    files = read_tar(b"".join(build_stream(archive, image, parse_reference(TAG))))
    assert json.loads(files["oci-layout"])["imageLayoutVersion"] == "1.0.0"
    (entry,) = json.loads(files["index.json"])["manifests"]
    assert (entry["digest"], entry["annotations"]["io.containerd.image.name"]) == (image.digest, TAG)
    (saved,) = json.loads(files["manifest.json"])
    assert saved["RepoTags"] == [TAG] and compute_digest(files[saved["Config"]]) == image.image_id
    assert [len(files[name]) for name in saved["Layers"]] == [3000, 0, 3000]
    blobs = {name: body for name, body in files.items() if name.startswith("blobs/sha256/")}
    assert {compute_digest(body) for body in blobs.values()} == {blob.digest for blob in image.blobs}
    assert all(name == f"blobs/sha256/{compute_digest(body)[7:]}" for name, body in blobs.items())


def test_the_classic_store_knows_an_image_by_its_config_and_containerds_by_its_manifest(image):
    assert find_store(CLASSIC) == find_store({}) == "classic" and find_store(CONTAINERD) == "containerd"
    assert list_image_ids(image, "classic") == (image.image_id,)
    assert list_image_ids(image, "containerd") == (image.digest, image.platform_digest)


def test_a_loaded_image_has_the_id_that_its_manifest_leads_to(archive, image):
    assert load_image(FakeDaemon(gets=[image.image_id]), archive, image, ignore) == image.image_id
    daemon = FakeDaemon(gets=[image.digest], info=CONTAINERD)
    assert load_image(daemon, archive, image, ignore) == image.digest


@pytest.mark.parametrize("info", [CLASSIC, CONTAINERD])
def test_another_image_than_the_one_that_was_sent_is_refused(archive, image, info):
    with pytest.raises(ImageError, match="says to have loaded"):
        load_image(FakeDaemon(gets=["sha256:" + "e" * 64], info=info), archive, image, ignore)


def test_a_name_that_another_image_has_here_is_not_taken_from_it(archive, image):
    daemon = FakeDaemon(here={TAG: "sha256:" + "e" * 64}, gets=[image.image_id])
    load_image(daemon, archive, image, ignore)
    (saved,) = json.loads(read_tar(daemon.sent)["manifest.json"])
    assert saved["RepoTags"] == [f"localhost/stack/archive:{image.digest[7:19]}"]


def test_what_a_mirror_served_goes_by_the_mirrors_name(archive, image):
    daemon = FakeDaemon(gets=[image.image_id])
    load_image(daemon, archive, replace(image, served_by=f"mirror.example/a/b@{image.digest}"), ignore)
    (saved,) = json.loads(read_tar(daemon.sent)["manifest.json"])
    assert saved["RepoTags"] == ["mirror.example/a/b:t"]


def test_progress_reaches_the_size_of_all_blobs(archive, image):
    events = []
    load_image(FakeDaemon(gets=[image.image_id]), archive, image, events.append)
    assert events[-1].state == "done" and events[-1].completed_bytes == image.total_bytes == events[-1].total_bytes


@pytest.mark.parametrize("break_it", [lambda path: path.unlink(), lambda path: path.write_bytes(b"two" * 1000)])
def test_a_damaged_blob_is_named_and_the_stream_never_whole(archive, image, break_it):
    path = archive.blob_path(image.blobs[3].digest)
    break_it(path)
    daemon = FakeDaemon(gets=[image.image_id])
    with pytest.raises(DamagedBlobError) as caught:
        load_image(daemon, archive, image, ignore)
    assert str(path) in caught.value.message and TAG in caught.value.message
    assert caught.value.exit_code == 9 and "stack pin --archive --verify" in caught.value.hint
    assert daemon.sent is None


@pytest.mark.parametrize(("lines", "status", "said"), [
    ([b'{"stream": "x"}', b'{"errorDetail": {}, "error": "no space left on device"}'], 200, "no space left"),
    ([b'{"message": "bad"}'], 400, "bad"),
    ([b"not json"], 500, "HTTP 500"),
])  # fmt: skip
def test_what_the_daemon_refuses_is_said(archive, image, lines, status, said):
    with pytest.raises(ImageError, match=said) as caught:
        load_image(FakeDaemon(lines=lines, status=status), archive, image, ignore)
    assert caught.value.hint


def test_a_connection_that_breaks_off_is_an_error_of_the_image(archive, image):
    daemon = FakeDaemon()

    def post(*arguments, **options):
        raise requests.ConnectionError("broken pipe")

    daemon.api.post = post
    with pytest.raises(ImageError, match="broke off"):
        load_image(daemon, archive, image, ignore)
