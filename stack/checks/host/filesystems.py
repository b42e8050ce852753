"""Which filesystem a path is on, and how much room is there."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Filesystem:
    """One filesystem.

    Attributes:
        device: The kernel's number of it.
        path: An existing path on it.
        free_bytes: What this user may still write.
        total_bytes: Its size.
        free_inodes: Files that can still be made; None where it has no fixed number.
        total_inodes: How many there can be.
        is_read_only: Whether it is mounted read-only.
    """

    device: int
    path: Path
    free_bytes: int
    total_bytes: int
    free_inodes: int | None
    total_inodes: int | None
    is_read_only: bool


def find_existing(path: Path) -> Path:
    """Give the path itself or its nearest parent that exists and can be seen."""
    for candidate in (path, *path.parents):
        try:
            if candidate.exists():
                return candidate
        except OSError:
            continue
    return Path("/")


def read_filesystem(path: Path, statvfs: Callable[[Path], os.statvfs_result] = os.statvfs) -> Filesystem:
    """Read the filesystem that a path lies on or would lie on.

    Raises:
        OSError: The kernel does not say.
    """
    existing = find_existing(path)
    figures = statvfs(existing)
    # btrfs and some network filesystems make inodes as they need them, and say 0.
    has_inodes = figures.f_files > 0
    return Filesystem(
        device=existing.stat().st_dev,
        path=existing,
        free_bytes=figures.f_bavail * figures.f_frsize,
        total_bytes=figures.f_blocks * figures.f_frsize,
        free_inodes=figures.f_favail if has_inodes else None,
        total_inodes=figures.f_files if has_inodes else None,
        is_read_only=bool(figures.f_flag & os.ST_RDONLY),
    )
