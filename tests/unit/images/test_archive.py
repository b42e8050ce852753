"""The archive against a registry made up here: what is whole stays, what broke off goes on, what is wrong is named."""

import concurrent.futures
import hashlib
import http.server
import json
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import httpx2
import pytest

from stack.errors import ImageError
from stack.images.archive_fetch import Archiver
from stack.images.archive_layout import parse_index, render_index
from stack.images.archive_store import Archive, DamagedBlobError
from stack.images.archive_verify import drop_damaged, find_damage
from stack.images.manifests import INDEX_TYPES, MANIFEST_TYPES, compute_digest
from stack.images.reference import parse_reference
from stack.images.registry import Registry
from stack.progress import ignore

COMMIT = "0123456789abcdef0123456789abcdef01234567"
BASE = b"base" * 300_000
BLOBS = "https://registry.example/v2/a/b/blobs/"


class FakeRegistry:
    """Serves manifests and blobs by digest, with ranges; `cuts` ends an answer after so many bytes, once each."""

    def __init__(self):
        self.bodies, self.types, self.requests = {}, {}, []
        self.cuts, self.answers, self.wrong, self.before = [], [], {}, lambda digest: None

    def push(self, *layers, commit=COMMIT, index=False):
        config = json.dumps({"config": {"Labels": {"org.opencontainers.image.revision": commit}}}).encode()
        document = {
            "schemaVersion": 2,
            "config": {"digest": self.add(config), "size": len(config)},
            "layers": [{"digest": self.add(layer), "size": len(layer)} for layer in layers],
        }
        digest = self.add(json.dumps(document).encode(), MANIFEST_TYPES[0])
        if index:
            platforms = [("amd64", digest), ("arm64", "sha256:" + "9" * 64)]
            entries = [{"digest": d, "platform": {"os": "linux", "architecture": a}} for a, d in platforms]
            digest = self.add(json.dumps({"manifests": entries}).encode(), INDEX_TYPES[0])
        return parse_reference(f"registry.example/a/b:t@{digest}")

    def add(self, body, content_type="application/octet-stream"):
        digest = compute_digest(body)
        self.bodies[digest], self.types[digest] = body, content_type
        return digest

    def __call__(self, request):
        digest = request.url.path.rpartition("/")[2]
        self.requests.append((digest, request.headers.get("range")))
        self.before(digest)
        if "/blobs/" in request.url.path and self.answers:
            return self.answers.pop(0)
        if digest not in self.bodies:
            return httpx2.Response(404)
        body, headers = self.wrong.get(digest, self.bodies[digest]), {"content-type": self.types[digest]}
        status, begin = 200, 0
        if request.headers.get("range"):
            begin = int(request.headers["range"].removeprefix("bytes=").rstrip("-"))
            status, headers["content-range"] = 206, f"bytes {begin}-{len(body) - 1}/{len(body)}"
        if "/blobs/" not in request.url.path:
            return httpx2.Response(status, headers=headers, content=body)
        cut = self.cuts.pop(0) if self.cuts and len(body) > 1000 else None
        return httpx2.Response(status, headers=headers, stream=Body(body[begin:], cut))

    def asked_for(self, body):
        return [span for digest, span in self.requests if digest == compute_digest(body)]


class Body(httpx2.SyncByteStream):
    """A body that comes in pieces, and breaks off after `cut` bytes."""

    def __init__(self, body, cut=None):
        self.body, self.cut = body, cut

    def __iter__(self):
        yield from (self.body[: self.cut][at : at + 65536] for at in range(0, len(self.body[: self.cut]), 65536))
        if self.cut is not None:
            raise httpx2.ReadError("the connection was cut")


@pytest.fixture
def server():
    return FakeRegistry()


@pytest.fixture
def archive(tmp_path):
    return Archive(tmp_path / "images", sleep=lambda seconds: None)


@pytest.fixture
def keep(server, archive):
    """A function: archives a reference of the server."""
    with httpx2.Client(transport=httpx2.MockTransport(server)) as client:

        def call(reference, *, asked=None, retries=2, report=ignore, **options):
            registry = Registry(client, retries=retries, sleep=lambda seconds: None)
            archiver = Archiver(archive, registry, report, retries=retries, sleep=lambda seconds: None)
            return archiver.keep(reference, asked or reference, **options)

        yield call


def test_an_archive_is_an_oci_layout_of_the_registrys_own_blobs(server, archive, keep):
    reference = server.push(BASE, b"top", index=True)
    image = keep(reference, lock="/x/stack.lock", now="2026-11-20T00:00:00+00:00")
    assert json.loads((archive.root / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    assert json.loads((archive.root / "index.json").read_text())["manifests"][0]["digest"] == reference.digest
    for path in (archive.root / "blobs/sha256").iterdir():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    assert (image.commit, image.locks, len(image.blobs)) == (COMMIT, ("/x/stack.lock",), 5)
    assert image.platform_digest != image.digest == reference.digest
    assert archive.find(reference.digest) == image
    assert archive.read_manifest(image).digest == image.platform_digest
    assert not list((archive.root / "partial").iterdir())


def test_what_is_there_is_not_fetched_again_and_a_second_commit_shares_its_layers(server, keep):
    first, second = server.push(BASE, b"one"), server.push(BASE, b"two", commit="f" * 40)
    keep(first)
    before = len(server.requests)
    keep(first)
    assert len(server.requests) == before
    keep(second)
    assert len(server.asked_for(BASE)) == 1 and len(server.asked_for(b"two")) == 1


def test_progress_is_told_in_bytes_of_all_blobs(server, keep):
    events = []
    image = keep(server.push(BASE, b"top"), report=events.append)
    done = [event.completed_bytes for event in events if event.completed_bytes is not None]
    assert done == sorted(done) and done[-1] == image.total_bytes == events[-1].total_bytes
    assert events[-1].state == "done"


def test_a_cut_blob_goes_on_where_it_broke_off(server, keep):
    server.cuts = [1000, 2000]
    keep(server.push(BASE))
    assert server.asked_for(BASE) == [None, "bytes=1000-", "bytes=3000-"]


def test_a_run_that_died_in_the_middle_of_a_blob_is_continued(server, archive, keep):
    reference = server.push(BASE)
    server.cuts = [70_000] + [0] * 9
    with pytest.raises(ImageError, match="not reachable"):
        keep(reference)
    assert archive.find(reference.digest) is None
    assert archive.partial_path(compute_digest(BASE)).stat().st_size == 70_000
    server.cuts, before = [], len(server.asked_for(BASE))
    image = keep(reference)
    assert server.asked_for(BASE)[before:] == ["bytes=70000-"] and archive.find(reference.digest) == image


def test_a_partial_blob_with_wrong_bytes_is_begun_anew(server, archive, keep):
    path = archive.partial_path(compute_digest(BASE))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x" * 500)
    keep(server.push(BASE))
    assert server.asked_for(BASE) == ["bytes=500-", None]


def test_a_partial_blob_longer_than_the_blob_is_begun_anew(server, archive, keep):
    path = archive.partial_path(compute_digest(BASE))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x" * (len(BASE) + 1))
    keep(server.push(BASE))
    assert server.asked_for(BASE) == [None]


@pytest.mark.parametrize("status", [200, 206, 416])
def test_a_registry_that_does_not_go_on_where_it_was_asked_to_is_read_from_the_start(server, archive, keep, status):
    path = archive.partial_path(compute_digest(BASE))
    path.parent.mkdir(parents=True)
    path.write_bytes(BASE[:500])
    reference = server.push(BASE)
    # The config is there already, so that the prepared answer goes to the layer.
    archive.put(next(body for body in server.bodies.values() if b"Labels" in body))
    server.answers = [httpx2.Response(status, stream=Body(BASE if status == 200 else b"y"))]
    image = keep(reference)
    assert archive.find(reference.digest) == image


@pytest.mark.parametrize("wrong", [b"w" * len(BASE), b"w" * (len(BASE) + 9)])
def test_wrong_bytes_are_refused_and_nothing_of_them_stays(server, archive, keep, wrong):
    reference = server.push(BASE)
    server.wrong[compute_digest(BASE)] = wrong
    with pytest.raises(ImageError, match="serves other bytes for a blob") as caught:
        keep(reference)
    assert compute_digest(BASE) in caught.value.message
    assert not archive.blob_path(compute_digest(BASE)).exists() and archive.find(reference.digest) is None
    assert archive.partial_path(compute_digest(BASE)).stat().st_size == 0


def test_too_few_bytes_end_after_the_retries(server, keep):
    reference = server.push(BASE)
    server.wrong[compute_digest(BASE)] = BASE[:100]
    with pytest.raises(ImageError, match="gives no more of"):
        keep(reference)


def test_a_registry_that_is_busy_is_asked_again_and_one_that_lost_a_blob_is_named(server, keep):
    busy = server.push(b"one")
    server.answers = [httpx2.Response(503), httpx2.Response(429, headers={"retry-after": "1"})]
    keep(busy)
    lost = server.push(b"two")
    del server.bodies[compute_digest(b"two")]
    with pytest.raises(ImageError, match=r"registry\.example has no"):
        keep(lost)


def test_two_archivers_at_once_fetch_each_blob_once(server, archive, keep):
    references = [server.push(BASE, layer) for layer in (b"one", b"two")]
    waits = threading.Event()

    def report(event):
        if "waiting for another process" in event.text:
            waits.set()

    # The layer that both want comes only when the second one waits for the first.
    server.before = lambda digest: digest == compute_digest(BASE) and waits.wait(60)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        images = [pool.submit(keep, reference, report=report) for reference in references]
        found = [image.result() for image in images]
    assert waits.is_set() and len(server.asked_for(BASE)) == 1
    assert [archive.find(reference.digest) for reference in references] == found


def test_an_image_with_layers_elsewhere_or_for_another_platform_is_refused(server, keep):
    document = {"mediaType": MANIFEST_TYPES[1], "config": {"digest": server.add(b"{}"), "size": 2}}
    document["layers"] = [{"digest": "sha256:" + "1" * 64, "size": 1, "urls": ["https://elsewhere.example"]}]
    digest = server.add(json.dumps(document).encode(), MANIFEST_TYPES[1])
    with pytest.raises(ImageError, match="lie elsewhere"):
        keep(parse_reference(f"registry.example/a/b@{digest}"))


def test_no_room_is_said_before_anything_is_fetched(server, keep, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10))
    reference = server.push(BASE)
    with pytest.raises(ImageError, match="has no room"):
        keep(reference)
    assert server.asked_for(BASE) == []


def test_a_damaged_blob_is_found_named_and_mended(server, archive, keep):
    reference = server.push(BASE, b"top")
    image = keep(reference)
    path = archive.blob_path(compute_digest(BASE))
    path.write_bytes(b"!" + BASE[1:])
    assert archive.find(reference.digest) == image, "its size is right: only hashing tells"
    (damage,) = find_damage(archive, [image], ignore)
    assert str(path) in damage.message and "holds other bytes" in damage.message
    drop_damaged(archive, [damage])
    keep(reference)
    assert find_damage(archive, [image], ignore) == [] and len(server.asked_for(b"top")) == 1


def test_damaged_bytes_are_never_given_as_whole(server, archive, keep):
    image = keep(server.push(BASE))
    archive.blob_path(compute_digest(BASE)).write_bytes(BASE[:-1] + b"!")
    given = bytearray()
    with pytest.raises(DamagedBlobError):
        for piece in archive.read_pieces(image.blobs[-1], image):
            given += piece
    assert len(given) < len(BASE)


def test_an_index_that_names_another_config_is_not_believed(server, archive, keep):
    image = keep(server.push(BASE))
    text = (archive.root / "index.json").read_text().replace(image.image_id, "sha256:" + "e" * 64)
    (archive.root / "index.json").write_text(text)
    (other,) = archive.read_images().values()
    with pytest.raises(DamagedBlobError, match="config that is not of the image"):
        archive.read_manifest(other)


def test_the_index_is_read_as_it_was_written_and_leaves_out_what_others_put_there(server, archive, keep):
    image = keep(server.push(BASE), lock="/x/stack.lock")
    text = render_index([image])
    assert list(parse_index(text).values()) == [image]
    document = json.loads(text)
    document["manifests"].append({"digest": "sha256:" + "1" * 64})
    assert list(parse_index(json.dumps(document))) == [image.digest]
    document["manifests"][0]["annotations"]["dev.stack.config"] = "../../etc/passwd"
    with pytest.raises(ValueError, match="no digest"):
        parse_index(json.dumps(document))


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"manifests": 1}', '{"manifests": [{"annotations": {"dev.stack.served-by": "x"}}]}']
)
def test_a_damaged_index_is_named_with_what_mends_it(archive, text):
    archive.root.mkdir()
    (archive.root / "index.json").write_text(text)
    with pytest.raises(ImageError, match=r"index\.json cannot be read") as caught:
        archive.read_images()
    assert "stack pin --archive --verify" in caught.value.hint


def test_a_directory_that_cannot_be_written_is_said(tmp_path, server, keep, archive):
    archive.root.write_text("a file")
    with pytest.raises(ImageError, match="cannot be written") as caught:
        keep(server.push(BASE))
    assert "images.archive-dir" in caught.value.hint


def test_who_served_a_digest_stays_on_record_when_another_could_have(server, archive, keep):
    reference = server.push(BASE)
    mirrored = parse_reference(f"mirror.example/a/b@{reference.digest}")
    assert keep(reference, asked=mirrored).served_by == str(mirrored)
    again = keep(reference)
    assert (again.served_by, again.reference) == (str(mirrored), "registry.example/a/b:t")
    # Bytes that are there without an entry were vouched for by nobody: the registry is asked.
    (archive.root / "index.json").unlink()
    before = len(server.requests)
    assert keep(reference).served_by == f"registry.example/a/b@{reference.digest}"
    assert [digest for digest, _ in server.requests[before:]] == [reference.digest]


class StallingHandler(http.server.BaseHTTPRequestHandler):
    """Serves what `server.fake` has over HTTP; a large blob stops in the middle while `server.is_stalled` is set."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        headers = {"range": self.headers["range"]} if self.headers["range"] else {}
        answer = self.server.fake(httpx2.Request("GET", f"http://{self.headers['host']}{self.path}", headers=headers))
        body = b"".join(answer.stream)
        self.send_response(answer.status_code)
        for name, value in {**answer.headers, "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if len(body) > 100_000 and self.server.is_stalled.is_set():
            self.wfile.write(body[:100_000])
            self.wfile.flush()
            self.server.release.wait(60)
            return
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


KEEP = """
import sys, httpx2
from pathlib import Path
from stack.images.archive_fetch import Archiver
from stack.images.archive_store import Archive
from stack.images.reference import parse_reference
from stack.images.registry import Registry
from stack.progress import ignore
with httpx2.Client(trust_env=False) as client:
    reference = parse_reference(sys.argv[2])
    Archiver(Archive(Path(sys.argv[1])), Registry(client, timeout_seconds=60), ignore).keep(reference, reference)
"""


def test_a_process_that_is_killed_in_the_middle_of_a_blob_leaves_what_the_next_one_goes_on_from(server, archive):
    digest = server.push(BASE).digest
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), StallingHandler) as web:
        web.fake, web.is_stalled, web.release = server, threading.Event(), threading.Event()
        web.daemon_threads = True
        threading.Thread(target=web.serve_forever, daemon=True).start()
        argv = [sys.executable, "-c", KEEP, str(archive.root), f"127.0.0.1:{web.server_address[1]}/a/b@{digest}"]
        web.is_stalled.set()
        partial = archive.partial_path(compute_digest(BASE))
        with subprocess.Popen(argv) as process:
            deadline = time.monotonic() + 60
            while not (partial.exists() and partial.stat().st_size >= 8192):
                assert time.monotonic() < deadline and process.poll() is None, "nothing came"
                time.sleep(0.02)
            process.kill()
        left = partial.stat().st_size
        web.is_stalled.clear()
        web.release.set()
        subprocess.run(argv, check=True)
        web.shutdown()
    assert server.asked_for(BASE) == [None, f"bytes={left}-"] and archive.find(digest) is not None
