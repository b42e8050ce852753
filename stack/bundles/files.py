"""Files that appear whole or not at all, hashes that are computed beside the writing, and errors of the disk."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import queue
import threading
from collections.abc import Iterator
from pathlib import Path

from stack.bundles.problem import BundleError

CHUNK_BYTES = 1024**2
_QUEUED_PIECES = 4


class ChangedFileError(BundleError):
    """What was to be saved turned out to be something else."""


def check_written(size_bytes: int, sha256: str, wanted_bytes: int | None, wanted_sha256: str | None) -> None:
    """Hold what was written against what was to be written.

    Raises:
        ChangedFileError: It is not the same.
    """
    if wanted_bytes in (None, size_bytes) and wanted_sha256 in (None, sha256):
        return
    wanted = f"{wanted_bytes if wanted_bytes is not None else '?'} bytes with {wanted_sha256 or 'any hash'}"
    raise ChangedFileError(
        f"a file is not what it was when the save began: {size_bytes} bytes with {sha256} came, and not {wanted}",
        hint="run the command again; a model that changed on the disk is found by `stack warm --verify`",
    )


def read_file_pieces(path: Path) -> Iterator[bytes]:
    """Give a file's bytes in pieces.

    Raises:
        BundleError: It cannot be read.
    """
    try:
        with path.open("rb", buffering=0) as file:
            while piece := file.read(CHUNK_BYTES):
                yield piece
    except OSError as err:
        raise BundleError(f"{path} cannot be read: {err.strerror or err}", hint="run the command again") from err


class HashThread:
    """A SHA-256 that is computed while the same bytes are packed or written: hashlib lets go of the interpreter."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._queue: queue.Queue[bytes | None] = queue.Queue(_QUEUED_PIECES)
        self._thread = threading.Thread(target=self._run, name="sha256", daemon=True)
        self._thread.start()

    def update(self, piece: bytes) -> None:
        """Take the next bytes."""
        self._queue.put(piece)

    def finish(self) -> str:
        """Give the hash in hex; the thread ends."""
        self._queue.put(None)
        self._thread.join()
        return self._digest.hexdigest()

    def _run(self) -> None:
        while (piece := self._queue.get()) is not None:
            self._digest.update(piece)


@contextlib.contextmanager
def lock_alone(path: Path, where: Path) -> Iterator[None]:
    """Keep other processes from writing the same bundle; the kernel ends it with its holder.

    Raises:
        BundleError: Another process writes it.
    """
    descriptor = _open_locked(path, where)
    try:
        yield
    finally:
        os.close(descriptor)


def _open_locked(path: Path, where: Path) -> int:
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except FileNotFoundError:
            continue  # whoever is done took the folder away in between
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The file goes, or gets its own name, with the end of a save: a lock on that one keeps nobody off.
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:
            pass
        except BlockingIOError as err:
            os.close(descriptor)
            raise BundleError(f"another process is writing {where}", hint="wait for it, or name another place") from err
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def build_write_error(where: Path, err: OSError) -> BundleError:
    """Say that a bundle cannot be written, and what mends it."""
    if err.errno in (errno.ENOSPC, errno.EDQUOT):
        return BundleError(
            f"{where} cannot be written: the disk is full",
            hint=f"make room (`df -h '{where.absolute().parent}'`) and run the command again: it goes on from here",
        )
    if err.errno == errno.EFBIG:
        return BundleError(
            f"{where} cannot be written: its file system takes no file of that size",
            hint="save to a directory there, or format the disk with a file system that does (ext4, exFAT)",
        )
    return BundleError(f"{where} cannot be written: {err.strerror or err}", hint="name another place")
