"""Pulls by a real Docker engine from a real registry on this machine."""

import io
import tarfile
import uuid

import docker
import docker.errors
import httpx2
import pytest

from stack.errors import ImageError
from stack.images.pull import MovedTagError, Puller, find_local_image
from stack.images.reference import parse_reference
from stack.images.registry import Registry
from stack.progress import ignore

pytestmark = pytest.mark.docker


def build_tar(text):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        body = text.encode()
        info = tarfile.TarInfo("file.txt")
        info.size = len(body)
        tar.addfile(info, io.BytesIO(body))
    return buffer.getvalue()


@pytest.fixture
def engine():
    client = docker.from_env()
    yield client
    client.close()


class Shelf:
    """Images of this test, in the registry and in the engine; what it makes it removes by name and ID."""

    def __init__(self, engine, registry):
        self.engine = engine
        self.registry = registry
        self.name = f"{registry.host}/stack-test-{uuid.uuid4().hex[:12]}"
        self.ids = set()

    def push(self, tag, text):
        """Import a tiny image, push it and forget it here; gives its digest."""
        created = self.engine.api.import_image_from_data(
            build_tar(text),
            repository=self.name,
            tag=tag,
            changes=['LABEL org.opencontainers.image.version="1"'],
        )
        assert "error" not in created
        image = self.engine.images.get(f"{self.name}:{tag}")
        self.ids.add(image.id)
        events = list(self.engine.api.push(self.name, tag=tag, stream=True, decode=True))
        assert not [event for event in events if "error" in event]
        self.engine.images.remove(image.id, force=True)
        return next(event["aux"]["Digest"] for event in events if "aux" in event)

    def clean(self):
        for image_id in self.ids:
            try:
                self.engine.images.remove(image_id, force=True)
            except docker.errors.ImageNotFound:
                continue


@pytest.fixture
def shelf(engine, local_registry):
    shelf = Shelf(engine, local_registry)
    yield shelf
    shelf.clean()


@pytest.fixture
def puller(engine):
    with httpx2.Client() as client:
        yield Puller(engine, Registry(client))


def test_an_image_is_pulled_by_digest_with_its_bytes_told_and_then_is_here(shelf, puller):
    digest = shelf.push("t", "hello")
    wanted = parse_reference(f"{shelf.name}:t")
    events = []
    pulled = puller.pull(wanted, report=events.append)
    assert (pulled.digest, pulled.source) == (digest, "registry")
    assert pulled.image_id in shelf.ids
    last = events[-1]
    assert last.state == "done"
    assert last.completed_bytes == last.total_bytes > 0
    assert all(event.completed_bytes <= event.total_bytes for event in events if event.total_bytes)
    again = puller.pull(pulled.reference, report=ignore)
    assert (again.source, again.image_id, again.reference) == ("here", pulled.image_id, pulled.reference)


def test_a_tag_that_was_moved_in_the_registry_stops_the_pull(shelf, puller, engine):
    old = shelf.push("t", "old")
    new = shelf.push("t", "new")
    locked = parse_reference(f"{shelf.name}:t@{old}")
    with pytest.raises(MovedTagError) as caught:
        puller.pull(locked, report=ignore)
    assert (caught.value.expected, caught.value.served) == (old, new)
    assert find_local_image(engine, locked) is None
    pulled = puller.pull(locked, report=ignore, moved_tag="tell")
    assert pulled.digest == old


def test_a_mirror_serves_the_image_under_its_own_name(shelf, puller, engine):
    digest = shelf.push("t", "mirrored")
    host, _, repository = shelf.name.partition("/")
    mirroring = Puller(engine, puller.registry, mirror={"registry.example": host})
    pulled = mirroring.pull(parse_reference(f"registry.example/{repository}:t@{digest}"), report=ignore)
    assert (pulled.source, str(pulled.reference)) == ("mirror", f"{shelf.name}:t@{digest}")


def test_an_image_that_is_gone_from_the_registry_is_missed(shelf, puller):
    digest = shelf.push("t", "gone")
    shelf.registry.delete(shelf.name.partition("/")[2], digest)
    with pytest.raises(ImageError, match="HTTP 404"):
        puller.pull(parse_reference(f"{shelf.name}:t"), report=ignore)


def test_an_image_from_an_archive_is_known_by_its_id_and_not_by_its_digest(shelf, puller, engine):
    shelf.push("t", "archived")
    pulled = puller.pull(parse_reference(f"{shelf.name}:t"), report=ignore)
    archive = b"".join(engine.images.get(pulled.image_id).save(named=False))
    engine.images.remove(pulled.image_id, force=True)
    assert find_local_image(engine, pulled.reference, pulled.image_id) is None
    engine.images.load(archive)
    assert find_local_image(engine, pulled.reference) is None
    found = find_local_image(engine, pulled.reference, pulled.image_id)
    assert (found.source, found.digest, found.image_id) == ("here", None, pulled.image_id)
