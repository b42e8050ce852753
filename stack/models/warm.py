"""Weights into memory before the engine asks for them, and room on the volume."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from stack.errors import ModelError
from stack.models.meter import Meter
from stack.models.snapshot import (
    MANIFEST_NAME,
    STAGING_NAME,
    Snapshot,
    SnapshotKey,
    build_key_text,
    build_snapshot_folder,
    load_snapshot,
)
from stack.models.volume import is_locked, remove_tree, translate_os_errors, try_lock
from stack.progress import ProgressEvent, Report

_CHUNK_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class PrunedFolder:
    """A folder of the volume that can go, or has gone.

    Attributes:
        path: The folder.
        what: The snapshot or the unfinished download in words.
        size_bytes: What its removal frees.
        key_text: Whose lock guards it.
    """

    path: Path
    what: str
    size_bytes: int
    key_text: str


def load_available_memory_bytes() -> int | None:
    """Read how much memory could hold more of the page cache, or None where the kernel does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    values = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(values[0]) * 1024 if values else None


def read_into_page_cache(
    snapshot: Snapshot,
    report: Report,
    *,
    available_bytes: Callable[[], int | None] = load_available_memory_bytes,
    is_stopped: Callable[[], bool] = lambda: False,
) -> int:
    """Read the weights once, so that the engine finds them in memory, and give the bytes read.

    Weights larger than the memory that is free are left alone: reading the end would push out the beginning.

    Raises:
        ModelError: A file cannot be read.
    """
    task = f"page cache {snapshot.id}"
    free = available_bytes()
    if free is not None and free < snapshot.weights_bytes:
        said = f"skipped: {snapshot.weights_bytes} bytes of weights, {free} bytes of memory free"
        report(ProgressEvent(task, said, state="skipped"))
        return 0
    meter = Meter(report, task, snapshot.weights_bytes, "reading the weights")
    names = [record.name for record in snapshot.files if record.name.endswith(".safetensors")]
    done = 0
    with translate_os_errors(f"cannot read the weights in {snapshot.path}"):
        for name in names:
            done += _read_file(snapshot.path / name, meter, is_stopped)
    said = "left where the engine is ready" if is_stopped() else "weights are in the page cache"
    report(ProgressEvent(task, said, done, snapshot.weights_bytes, state="done"))
    return done


def list_snapshots(volume: Path) -> list[Snapshot]:
    """List what the volume holds, sorted; folders whose manifest cannot be read are left out."""
    found = []
    for kind in ("demo", "directory", "hub"):
        for manifest in sorted((volume / kind).rglob(MANIFEST_NAME)):
            try:
                snapshot = load_snapshot(manifest.parent)
            except ModelError:
                continue
            if snapshot is not None and build_snapshot_folder(volume, snapshot.key) == manifest.parent:
                found.append(snapshot)
    return sorted(found, key=lambda snapshot: snapshot.key)


def plan_prune(volume: Path, keep: Collection[SnapshotKey]) -> list[PrunedFolder]:
    """List what can go: snapshots that are not kept, and downloads that nobody is working on.

    A record of a user's directory goes when the directory is gone; the directory itself is never touched.
    """
    kept = {build_key_text(key) for key in keep}
    plan = []
    for snapshot in list_snapshots(volume):
        key_text = build_key_text(snapshot.key)
        if key_text in kept or is_locked(volume, key_text):
            continue
        folder = build_snapshot_folder(volume, snapshot.key)
        if snapshot.kind != "directory":
            plan.append(PrunedFolder(folder, f"{snapshot.id} at {snapshot.revision[:19]}", _measure(folder), key_text))
        elif not snapshot.path.is_dir():
            plan.append(PrunedFolder(folder, f"record of {snapshot.id}, which is gone", _measure(folder), key_text))
    staging = volume / STAGING_NAME
    for folder in sorted(staging.iterdir()) if staging.is_dir() else []:
        if not is_locked(volume, folder.name):
            plan.append(PrunedFolder(folder, f"unfinished {folder.name}", _measure(folder), folder.name))
    return plan


def prune(volume: Path, keep: Collection[SnapshotKey]) -> list[PrunedFolder]:
    """Remove what `plan_prune` lists, and say what went.

    Raises:
        ModelError: The volume cannot be written.
    """
    gone: list[PrunedFolder] = []
    with translate_os_errors(f"cannot prune {volume}"):
        for pruned in plan_prune(volume, keep):
            with try_lock(volume, pruned.key_text) as is_ours:
                if is_ours:
                    remove_tree(volume, pruned.path)
                    gone.append(pruned)
    return gone


def _measure(folder: Path) -> int:
    """Give the bytes that the folder's files take; hard links into other snapshots count as well."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def _read_file(path: Path, meter: Meter, is_stopped: Callable[[], bool]) -> int:
    buffer = bytearray(_CHUNK_BYTES)
    done = 0
    with path.open("rb", buffering=0) as stream:
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        while not is_stopped():
            os.posix_fadvise(stream.fileno(), done, 4 * _CHUNK_BYTES, os.POSIX_FADV_WILLNEED)
            count = stream.readinto(buffer)
            if not count:
                break
            done += count
            meter.add(count)
    return done
