"""What the run metrics tell beside boots and smokes: when the image expires, a boot under way, the GPUs after it."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from pathlib import Path

from stack.checks.gpus import Gpu, GpuReport, read_gpus
from stack.config.lock import load_lock
from stack.images.archive_store import Archive
from stack.operations.images.archived import read_archived
from stack.operations.images.resolve import build_lock_key
from stack.operations.pin.lock import read_expiry
from stack.operations.session import Session
from stack.telemetry.run_metrics import (
    BOOT_FILE_NAME,
    GPU_FILE_NAME,
    ImageExpiry,
    ReadyGpu,
    render_boot_deadline,
    render_gpu_metrics,
    write_run_metrics,
)


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
