"""The run metrics that Prometheus reads of this project, brought up to date from its history."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from pathlib import Path

from stack.checks.gpus import Gpu, GpuReport, read_gpus
from stack.config.lock import load_lock
from stack.history.records import BootRecord, RunRecord, SmokeRecord
from stack.history.store import History
from stack.images.archive_store import Archive
from stack.operations.bench.history import KIND as BENCH
from stack.operations.bench.history import read_stored_bench
from stack.operations.images.archived import read_archived
from stack.operations.images.resolve import build_lock_key
from stack.operations.pin.lock import read_expiry
from stack.operations.session import Session
from stack.telemetry.other_runs import RUNS_KEPT, StoredRun, render_other_runs
from stack.telemetry.run_metrics import (
    BOOT_FILE_NAME,
    FAILED,
    GPU_FILE_NAME,
    PASSED,
    SKIPPED,
    BootRun,
    ImageExpiry,
    ReadyGpu,
    RunIdentity,
    SmokeRun,
    render_boot_deadline,
    render_gpu_metrics,
    render_run_metrics,
    write_run_metrics,
)


def write_metrics(session: Session, history: History) -> Path:
    """Bring the run metrics up to date from the history."""
    boots = [boot for boot in history.recent_boots(20) if boot.outcome == "ready"]
    smoke = history.last_smoke()
    newest = boots[0].start if boots else None
    identity = None
    if newest is not None:
        identity = RunIdentity(
            commit=newest.commit or "",
            commit_level=newest.commit_level,
            version=newest.version or "",
            model=newest.model,
            revision=newest.revision or "",
            image_digest=newest.image_digest or newest.image_id,
            device=newest.device,
        )
    run = None
    if smoke is not None:
        words = {"pass": PASSED, "warn": PASSED, "fail": FAILED, "skip": SKIPPED}
        checks = {str(item["check"]): words[item["status"]] for item in smoke.report.get("checks", [])}
        seconds = float(smoke.report.get("seconds", 0.0))
        run = SmokeRun(smoke.started_at.timestamp() + seconds, seconds, checks, _read_drift(smoke))
    now = datetime.datetime.now(datetime.UTC)
    expiry = find_image_expiry(session, newest.device, now) if newest is not None else None
    runs = [_stored_run(one) for one in history.list_runs(limit=RUNS_KEPT)]
    text = render_run_metrics(identity, [_boot_run(boot) for boot in boots], run, expiry)
    return write_run_metrics(session.paths.metrics, text + render_other_runs(runs))


def _read_drift(smoke: SmokeRecord) -> dict[str, float]:
    for item in smoke.report.get("checks", []):
        if item["check"] == "baseline":
            return {str(text): float(distance) for text, distance in item.get("data", {}).items()}
    return {}


def _boot_run(boot: BootRecord) -> BootRun:
    warm = {"warm": True, "cold": False}.get(boot.cache_state)
    start = boot.start
    seconds = boot.total_seconds or 0.0
    what = (start.commit or "", start.version or "", start.model)
    return BootRun(start.started_at.timestamp(), seconds, boot.phases, warm, *what)


def _stored_run(run: RunRecord) -> StoredRun:
    """Give what the metrics tell of a run; a report of a kind that measures nothing has no latencies."""
    commit = (run.report.get("engine") or {}).get("commit") or ""
    if run.kind == BENCH:
        return StoredRun(run.kind, run.started_at.timestamp(), run.passed, commit, *read_stored_bench(run.report))
    measured = run.report.get("now") or {}
    latencies = {
        (name, percentile): float(seconds)
        for name in ("ttft", "itl", "e2e")
        for percentile, seconds in (measured.get(f"{name}_seconds") or {}).items()
    }
    return StoredRun(run.kind, run.started_at.timestamp(), run.passed, commit, latencies)


def find_image_expiry(session: Session, device: str, now: datetime.datetime) -> ImageExpiry | None:
    """Give when upstream deletes the engine's image; None where it stays, or the archive keeps it."""
    entry = load_lock(session.lock_path).images.get(build_lock_key("engine", device))
    expires = read_expiry(entry, now)
    if entry is None or expires is None:
        return None
    if entry.digest in read_archived(Archive(session.config.images.archive_dir), session.say):
        return None
    return ImageExpiry(entry.reference, expires.timestamp())


def note_boot_deadline(folder: Path, deadline_seconds: float) -> None:
    """Write that a boot is under way, and until when it may take; a process that dies leaves no more than that.

    Raises:
        StackError: The folder cannot be written.
    """
    write_run_metrics(folder, render_boot_deadline(deadline_seconds), name=BOOT_FILE_NAME)


def clear_boot_deadline(folder: Path) -> None:
    """Write that no boot is under way any more."""
    (folder / BOOT_FILE_NAME).unlink(missing_ok=True)


def note_ready_gpus(folder: Path, gpus: Sequence[Gpu], *, ask: Callable[[], GpuReport] = read_gpus) -> None:
    """Write how much memory the engine left free on its GPUs; without a GPU nothing of an earlier boot stays.

    Args:
        folder: Where node-exporter takes the run metrics from.
        gpus: The GPUs that the engine was given, as they were before it started.
        ask: Gives them as they are now.
    """
    if not gpus:
        (folder / GPU_FILE_NAME).unlink(missing_ok=True)
        return
    ours = {gpu.uuid for gpu in gpus}
    ready = [ReadyGpu(gpu.index, gpu.uuid, gpu.name, gpu.free_bytes) for gpu in ask().gpus if gpu.uuid in ours]
    write_run_metrics(folder, render_gpu_metrics(ready), name=GPU_FILE_NAME)
