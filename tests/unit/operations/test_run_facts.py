"""When the engine's image expires, and what its GPUs were like when it was ready."""

from __future__ import annotations

import datetime

from stack.checks.gpus import Gpu, GpuReport
from stack.config.lock import Lock, LockedImage, write_lock
from stack.operations import run_facts
from stack.operations.run_facts import find_image_expiry, note_ready_gpus
from stack.telemetry.exposition import parse_exposition
from stack.telemetry.run_metrics import GPU_FILE_NAME, ImageExpiry

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
    monkeypatch.setattr(run_facts, "read_archived", lambda archive, say: {DIGEST: object()})
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
