"""Files written whole or not at all, and what is said where one cannot be written."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterable
from pathlib import Path

from stack.errors import HostError, StackError
from stack.files import replace_file


def build_folder_error(path: Path, err: OSError) -> HostError:
    """Say which place of the project's own cannot be written, why, and what mends it."""
    if is_full(err):
        return HostError(
            f"{path} cannot be written: the disk is full",
            hint=f"make room (`df -h '{path.parent}'`), then run the command again: it goes on from here",
        )
    return HostError(
        f"{path} cannot be written: {err.strerror}",
        hint="give it back to this user with chown, or choose another place: STACK_STATE_HOME, `engine.cache-dir`",
    )


def is_full(err: OSError) -> bool:
    """Tell whether a disk or a quota is full."""
    return err.errno in (errno.ENOSPC, errno.EDQUOT)


def write_whole(path: Path, text: str, *, mode: int = 0o644, owner: int | None = None) -> bool:
    """Write a file so that a reader sees the old or the new text; tell whether anything changed.

    Raises:
        HostError: The disk is full.
        StackError: It cannot be written.
    """
    try:
        if _holds(path, text, mode):
            return False
    except OSError as err:
        raise _build_write_error(path, err) from err
    write_lines(path, [text], mode=mode, owner=owner)
    return True


def write_lines(path: Path, lines: Iterable[str], *, mode: int = 0o644, owner: int | None = None) -> None:
    """Write a file as its lines come, never all of them in memory; a reader sees the old or the new text.

    Raises:
        HostError: The disk is full.
        StackError: It cannot be written; or what `lines` raises, and nothing is left.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, (line.encode() for line in lines), mode=mode, owner=owner)
    except OSError as err:
        raise _build_write_error(path, err) from err


def demand_writable(path: Path) -> None:
    """Make a file's folder and write something there that does not stay: what is measured for long must not be lost.

    Raises:
        HostError: The disk is full.
        StackError: The file could not be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent) as file:
            file.write(b"x")
    except OSError as err:
        raise _build_write_error(path, err) from err


def _build_write_error(path: Path, err: OSError) -> StackError:
    return build_folder_error(path, err) if is_full(err) else StackError(f"{path} cannot be written: {err.strerror}")


def _holds(path: Path, text: str, mode: int) -> bool:
    return path.is_file() and path.read_bytes() == text.encode() and (path.stat().st_mode & 0o777) == mode
