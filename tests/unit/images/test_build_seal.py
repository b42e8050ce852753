"""The last step of a build, on a daemon that is pretended: what goes in, what stops it, what is cleaned up."""

import io
import json
import tarfile
from dataclasses import replace
from types import SimpleNamespace

import pytest
from docker.errors import APIError, NotFound

from stack.errors import ImageError
from stack.images import build_seal
from stack.images.build_record import PACKAGES_LABEL, RECORD_FILE, RECORD_LABEL, hash_record
from stack.images.build_seal import extract_record, seal_image
from stack.images.packages import Package, PackageSet
from stack.images.recipe import build_base_recipe, build_engine_recipe

BASE = build_base_recipe("bookworm", "http://deb.debian.org/debian")
RECIPE = build_engine_recipe("cpu", BASE)
NUMPY = {"name": "numpy", "version": "2.4.6", "file": "numpy.whl", "sha256": "2" * 64}
INSTALLED = {"machine": "x86_64", "python": "3.11.2", "packages": [NUMPY], "wheel": None, "torch": None, "cuda": None}
FILES = {
    "/usr/share/stack/installed.json": json.dumps(INSTALLED).encode(),
    "/var/lib/dpkg/status": b"Package: curl\nStatus: install ok installed\nVersion: 7\n",
    "/etc/debian_version": b"12.11\n",
}


def pack(name, content):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


class FakeContainer:
    def __init__(self, files, fails):
        self.files, self.fails = dict(files), fails
        self.commits, self.is_removed = [], False

    def get_archive(self, path):
        if path not in self.files:
            raise NotFound(path)
        return iter([pack(path.rpartition("/")[2], self.files[path])]), {}

    def put_archive(self, path, data):
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for entry in archive:
                assert (entry.uid, entry.gid) == (0, 0)
                if entry.isfile():
                    assert entry.mode == 0o644
                    self.files[f"/{entry.name}"] = archive.extractfile(entry).read()

    def commit(self, repository, tag, changes):
        if self.fails:
            raise APIError("no room")
        self.commits.append((f"{repository}:{tag}", changes))

    def remove(self, **options):
        assert options == {"v": True, "force": True}
        self.is_removed = True


@pytest.fixture
def daemon():
    """A function: an image's files give a daemon and the container that is made of it."""

    def make(files=FILES, *, fails=False):
        container = FakeContainer(files, fails)
        client = SimpleNamespace(
            images=SimpleNamespace(get=lambda name: SimpleNamespace(id="sha256:base")),
            containers=SimpleNamespace(create=lambda image_id: container),
        )
        return client, container

    return make


def test_the_record_goes_into_the_image_and_its_hash_onto_a_label(daemon):
    client, container = daemon()
    content = seal_image(client, RECIPE, "sha256:new", "localhost/stack/engine:x")
    assert container.files[RECORD_FILE] == content and container.is_removed
    ((name, changes),) = container.commits
    packages = PackageSet("x86_64", "3.11", (Package("numpy", "2.4.6"),))
    assert name == "localhost/stack/engine:x"
    assert changes == [
        f'LABEL {RECORD_LABEL}="{hash_record(content)}"',
        f'LABEL {PACKAGES_LABEL}="{packages.hash()}"',
    ]
    assert json.loads(content)["base"]["id"] == "sha256:base"
    assert extract_record(client, "sha256:new") == content


def test_an_image_of_debian_packages_alone_has_a_record_too(daemon):
    files = {name: content for name, content in FILES.items() if "installed" not in name}
    client, container = daemon(files)
    seal_image(client, RECIPE, "sha256:new", "localhost/stack/engine:x")
    ((_, changes),) = container.commits
    assert [change.partition("=")[0] for change in changes] == [f"LABEL {RECORD_LABEL}"]


def test_other_packages_than_the_locked_ones_never_get_the_name_and_are_named(daemon):
    client, container = daemon()
    locked = PackageSet("x86_64", "3.11", (Package("numpy", "2.4.5"), Package("torch", "2.13.0")))
    with pytest.raises(ImageError, match="other packages than stack.lock has") as caught:
        seal_image(client, replace(RECIPE, locked=locked), "sha256:new", "localhost/stack/engine:x")
    assert "- numpy is 2.4.6 instead of 2.4.5\n- torch 2.13.0 is missing" in caught.value.message
    assert container.commits == [] and container.is_removed


def test_a_daemon_that_refuses_is_told_and_nothing_stays(daemon):
    client, container = daemon(fails=True)
    with pytest.raises(ImageError, match="writing the build record of localhost/stack/engine:x failed: no room"):
        seal_image(client, RECIPE, "sha256:new", "localhost/stack/engine:x")
    assert container.is_removed


def test_an_image_without_a_record_has_none(daemon):
    assert extract_record(daemon()[0], "sha256:old") is None


class Crafted(FakeContainer):
    """A container of an image in which something else lies in the record's place."""

    def __init__(self, kind=tarfile.REGTYPE, size=0, body=None):
        super().__init__({}, False)
        entry = tarfile.TarInfo("build.json")
        entry.type, entry.linkname, entry.size = kind, "/etc/shadow", size
        self.body = entry.tobuf() if body is None else body

    def get_archive(self, path):
        return iter([self.body, *[bytes(1024**2)] * 70]), {}


@pytest.fixture
def extract():
    """A function: gives the record out of a crafted image."""

    def call(**options):
        container = Crafted(**options)
        try:
            return extract_record(
                SimpleNamespace(containers=SimpleNamespace(create=lambda image_id: container)), "sha256:x"
            )
        finally:
            assert container.is_removed

    return call


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_what_is_no_plain_file_is_no_record(extract, kind, monkeypatch):
    monkeypatch.setattr(build_seal, "_MOST_BYTES", 100 * 1024**2)
    assert extract(kind=kind) is None


def test_a_file_beyond_all_measure_is_not_taken_into_memory(extract):
    with pytest.raises(ImageError, match="/usr/share/stack/build.json in the image is larger than"):
        extract(size=70 * 1024**2)


def test_a_stream_that_is_no_archive_is_told(extract, monkeypatch):
    monkeypatch.setattr(build_seal, "_MOST_BYTES", 100 * 1024**2)
    with pytest.raises(ImageError, match="cannot be read"):
        extract(body=b"not a tar" * 200)
