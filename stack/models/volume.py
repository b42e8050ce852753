"""The shared volume as a place: locks, staging, and files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from stack.errors import ModelError
from stack.files import replace_file, sync_folder
from stack.models.snapshot import (
    FILES_NAME,
    LOCKS_NAME,
    MANIFEST_NAME,
    STAGING_NAME,
    FileStat,
    Snapshot,
    SnapshotKey,
    build_lock_path,
    build_snapshot_folder,
    build_staging_folder,
    render_manifest,
)
from stack.progress import ProgressEvent, Report

Sleep = Callable[[float], None]

_POLL_SECONDS = 0.5
# The engine may run under another uid, so whatever lands is readable by everyone whatever the umask is.
_FOLDER_MODE = 0o755
_FILE_MODE = 0o644


@contextlib.contextmanager
def hold_lock(
    volume: Path, key: SnapshotKey, report: Report, task: str, *, sleep: Sleep = time.sleep
) -> Iterator[None]:
    """Hold the one lock of a snapshot; while another process holds it, wait and say so.

    The kernel frees the lock when its holder dies, so a wait ends without a time limit.

    Raises:
        ModelError: The volume cannot be written.
    """
    path = build_lock_path(volume, key)
    with translate_os_errors(f"cannot lock {path}"):
        make_folder(path.parent)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        while not _try_lock(descriptor):
            report(ProgressEvent(task, f"waiting for another process that is fetching {key.id}"))
            sleep(_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def try_lock(volume: Path, key_text: str) -> Iterator[bool]:
    """Hold a lock if nobody else does, and give whether that is so."""
    path = volume / LOCKS_NAME / f"{key_text}.lock"
    make_folder(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        yield _try_lock(descriptor)
    finally:
        os.close(descriptor)


def is_locked(volume: Path, key_text: str) -> bool:
    """Tell whether a process is putting together the snapshot with this key text right now."""
    try:
        descriptor = os.open(volume / LOCKS_NAME / f"{key_text}.lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _try_lock(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Make a folder and its missing parents, readable by everyone."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        folder.chmod(_FOLDER_MODE)


def sync_file(path: Path) -> None:
    """Bring a file's bytes to the disk and make it readable by everyone."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
    path.chmod(_FILE_MODE)


def load_file_stat(path: Path) -> FileStat:
    """Read how a file looks now, following links."""
    status = path.stat()
    return FileStat(status.st_size, status.st_mtime_ns, status.st_ino)


def load_file_stats(snapshot: Snapshot) -> dict[str, FileStat]:
    """Read how all files of a snapshot look now."""
    return {record.name: load_file_stat(snapshot.path / record.name) for record in snapshot.files}


def prepare_staging(volume: Path, key: SnapshotKey) -> Path:
    """Make the staging folder, or find it as the last attempt left it, and give its `files` folder."""
    files = build_staging_folder(volume, key) / FILES_NAME
    make_folder(files)
    return files


def publish(volume: Path, staged: Snapshot) -> Snapshot:
    """Move a complete staging folder to its place in one step; what lay there before is removed.

    Shapes: `staged.path` is the `files` folder that `prepare_staging` gave, holding exactly `staged.files`.
    """
    staging = staged.path.parent
    final = build_snapshot_folder(volume, staged.key)
    _drop_strangers(staged)
    for record in staged.files:
        sync_file(staged.path / record.name)
    for folder in [staged.path, *(path for path in staged.path.rglob("*") if path.is_dir())]:
        folder.chmod(_FOLDER_MODE)
        sync_folder(folder)
    landed = Snapshot(
        kind=staged.kind,
        id=staged.id,
        revision=staged.revision,
        path=final / FILES_NAME,
        files=staged.files,
        served_name=staged.served_name,
        mount_root=final / FILES_NAME,
        stats=load_file_stats(staged),
    )
    replace_file(staging / MANIFEST_NAME, render_manifest(landed).encode(), mode=_FILE_MODE)
    make_folder(final.parent)
    remove_tree(volume, final)
    staging.rename(final)
    sync_folder(final.parent)
    return landed


def remove_tree(volume: Path, folder: Path) -> None:
    """Remove a folder of the volume so that nobody ever sees half of it."""
    if not folder.exists():
        return
    make_folder(volume / STAGING_NAME)
    trash = volume / STAGING_NAME / f"trash--{folder.name}--{os.getpid()}--{time.monotonic_ns()}"
    folder.rename(trash)
    # What cannot be removed now stays in the staging folder, where the next prune finds it.
    shutil.rmtree(trash, ignore_errors=True)


@contextlib.contextmanager
def translate_os_errors(what: str) -> Iterator[None]:
    """Turn what the file system refuses into a ModelError that begins with `what`."""
    try:
        yield
    except OSError as error:
        raise build_os_model_error(what, error) from error


def build_os_model_error(what: str, error: OSError) -> ModelError:
    """Explain what the file system refused."""
    reason = error.strerror or str(error)
    where = f" ({error.filename})" if error.filename and str(error.filename) not in what else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "free some space, run `stack warm --prune`, or set `model.volume` to a larger disk"
        return ModelError(f"{what}: the disk is full{where}", hint=hint)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        hint = "set `model.volume` to a directory that you may write"
        return ModelError(f"{what}: {reason}{where}", hint=hint)
    return ModelError(f"{what}: {reason}{where}")


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _drop_strangers(staged: Snapshot) -> None:
    wanted = {record.name for record in staged.files}
    for path in staged.path.rglob("*"):
        if not path.is_dir() and path.relative_to(staged.path).as_posix() not in wanted:
            path.unlink()
