"""Files of the archive that appear whole or not at all, and locks that end with their holder."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

_POLL_SECONDS = 0.2


def write_whole(path: Path, body: bytes) -> None:
    """Write a small file so that a reader sees the old bytes or the new ones, also after a crash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    try:
        with temporary.open("wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Bring a folder's entries to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def wait_lock(descriptor: int, kind: int, tell: Callable[[], None], sleep: Callable[[float], None]) -> None:
    """Wait without a time limit: the kernel frees a lock when its holder ends, however it ends."""
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            tell()
            sleep(_POLL_SECONDS)


def is_same(file: BinaryIO, path: Path) -> bool:
    """Tell whether an open file is still the one that lies at a path."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
