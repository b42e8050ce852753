"""Locks of the archive that end with their holder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

_POLL_SECONDS = 0.2


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
