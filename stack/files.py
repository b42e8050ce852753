"""Small files that appear whole or not at all, also after a crash: every room writes them this way."""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
from collections.abc import Iterable
from pathlib import Path


def replace_file(
    path: Path, body: bytes | Iterable[bytes], *, mode: int = 0o644, owner: int | None = None, draft: Path | None = None
) -> None:
    """Write a file so that a reader sees the old bytes or the new ones, and its folder knows it before this returns.

    Args:
        path: The file; its folder exists.
        body: Its bytes; those of a large file in parts, each written as it comes.
        mode: Its mode, whatever the umask.
        owner: The user to give it to, with group 0, where that is ours to do.
        draft: Where it is written first, on the same disk, over what a crash left there; a new name by default.

    Raises:
        OSError: It cannot be written; the old file is as it was.
    """
    # Hidden, and without the file's suffix: whoever reads all `*.prom` of a folder must not take it.
    target = draft or path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.partial")
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if draft else os.O_EXCL), mode)
        with os.fdopen(descriptor, "wb") as file:
            file.writelines([body] if isinstance(body, bytes) else body)
            file.flush()
            os.fchmod(descriptor, mode)
            if owner is not None and os.geteuid() == 0:
                os.fchown(descriptor, owner, 0)
            os.fsync(descriptor)
        target.replace(path)
    finally:
        target.unlink(missing_ok=True)
    if draft is None:
        _remove_left(path)
    sync_folder(path.parent)


def _remove_left(path: Path) -> None:
    """Remove drafts of a file whose writers were killed in the middle."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        writer = left.name.split(".")[-3]
        if writer.isdigit() and not Path("/proc", writer).exists():
            with contextlib.suppress(OSError):
                left.unlink()


def sync_folder(path: Path) -> None:
    """Bring a folder's entries to the disk.

    Raises:
        OSError: It cannot be opened, or the disk refuses.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
