"""The run metrics: the last boot and runs, when the image expires, and what the GPUs were like when it was ready."""

from __future__ import annotations

import datetime

from stack.checks.gpus import Gpu, GpuReport
from stack.config.lock import Lock, LockedImage, write_lock
from stack.history.records import BootStart
from stack.history.store import open_history
from stack.operations import run_metrics
from stack.operations.run_metrics import find_image_expiry, note_ready_gpus, write_metrics
from stack.telemetry.exposition import parse_exposition
from stack.telemetry.run_metrics import GPU_FILE_NAME, ImageExpiry

COMMIT = "0123456789abcdef0123456789abcdef01234567"
IMAGE_ID = "sha256:" + "1" * 64
STARTED = datetime.datetime(2026, 11, 21, 22, 0, tzinfo=datetime.UTC)
DIGEST = "sha256:" + "a" * 64
NOW = datetime.datetime(2026, 11, 20, 1, 2, 3, tzinfo=datetime.UTC)
NIGHTLY = LockedImage(
    reference="a.example/b:c", tag="c", digest=DIGEST, device="cpu", source="registry", found_by="nightly",
    created="2026-11-10T01:02:03Z",
)  # fmt: skip
GIB = 1024**3


def lock(session, image):
    write_lock(session.lock_path, Lock(images={"engine/cpu": image}))
    return session


def test_a_nightly_expires_as_many_days_after_it_was_built_as_upstream_keeps_nights(make_session):
    expiry = find_image_expiry(lock(make_session(), NIGHTLY), "cpu", NOW)
    assert expiry == ImageExpiry(
        "a.example/b:c", datetime.datetime(2026, 11, 24, 1, 2, 3, tzinfo=datetime.UTC).timestamp()
    )


def test_a_release_stays(make_session):
    image = NIGHTLY.model_copy(update={"found_by": "release"})
    assert find_image_expiry(lock(make_session(), image), "cpu", NOW) is None


def test_what_the_archive_keeps_does_not_expire(make_session, monkeypatch):
    monkeypatch.setattr(run_metrics, "read_archived", lambda archive, say: {DIGEST: object()})
    assert find_image_expiry(lock(make_session(), NIGHTLY), "cpu", NOW) is None


def test_nothing_is_locked_yet(make_session):
    assert find_image_expiry(make_session(), "cpu", NOW) is None


def board(index, free_bytes):
    return Gpu(index, f"GPU-{index}", "RTX", 24 * GIB, free_bytes, (8, 9))


def test_only_the_engine_s_own_boards_are_noted_as_it_left_them(tmp_path):
    note_ready_gpus(tmp_path, [board(1, 23 * GIB)], ask=lambda: GpuReport((board(0, 20 * GIB), board(1, 2 * GIB))))
    (sample,) = parse_exposition((tmp_path / GPU_FILE_NAME).read_text()).select("stack_gpu_ready_free_bytes")
    assert dict(sample.labels) == {"gpu": "1", "UUID": "GPU-1", "modelName": "RTX"}
    assert sample.value == 2 * GIB


def test_an_engine_on_the_cpu_leaves_nothing_of_an_earlier_one_on_a_gpu(tmp_path):
    (tmp_path / GPU_FILE_NAME).write_text("old")
    note_ready_gpus(tmp_path, [], ask=lambda: GpuReport((board(0, GIB),)))
    assert list(tmp_path.iterdir()) == []
    note_ready_gpus(tmp_path, [])


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
