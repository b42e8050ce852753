"""Compile caches out of a bundle into their place.

The engine may write there, so any part of a path can have become a link since: each folder is opened in the one above
it, and a link on the way is an error.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from stack.bundles.manifest import BundleFile
from stack.bundles.problem import BundleError
from stack.models.meter import Meter
from stack.operations.bundle.open import OpenBundle
from stack.progress import ProgressEvent, Report

_TASK = "load compile caches"
_DRAFT = ".bundle-draft"


def take_caches(folder: Path, opened: OpenBundle, owner: int, report: Report) -> int:
    """Put a bundle's compile caches into a folder that is there, and give their number; files that are there stay.

    Args:
        folder: The project's caches.
        opened: The bundle, of somebody who is trusted: the engine runs what is in them.
        owner: Whose they are, where this process may give files away.
        report: Told the bytes.

    Raises:
        BundleError: They cannot be written, or something else is in their place.
    """
    files = opened.bundle.list_part("cache")
    total = sum(file.size_bytes for file in files)
    meter = Meter(report, _TASK, total)
    for file in files:
        try:
            _take(folder, file, _check(opened, file, meter), owner)
        except OSError as err:
            raise BundleError(
                f"{folder / file.name} cannot be written: {err.strerror or err}",
                hint=f"make room there, or remove the compile caches (`rm -r '{folder}'`): the engine makes them anew",
            ) from err
    if files:
        report(ProgressEvent(_TASK, f"{len(files)} files", total, total, "done"))
    return len(files)


def _check(opened: OpenBundle, file: BundleFile, meter: Meter) -> Iterator[bytes]:
    """Give a file's bytes; that they are others than those that were hashed is known at their end."""
    digest = hashlib.sha256()
    for piece in opened.source.read_pieces(file.path):
        digest.update(piece)
        yield piece
        meter.add(len(piece))
    if digest.hexdigest() != file.sha256:
        raise BundleError(f"{file.path} changed while it was loaded")


def _take(folder: Path, file: BundleFile, pieces: Iterable[bytes], owner: int) -> None:
    *above, name = PurePosixPath(file.name).parts
    with contextlib.ExitStack() as stack:
        place = _open_folder(stack, str(folder), None)
        for part in above:
            is_new = True
            try:
                os.mkdir(part, 0o755, dir_fd=place)  # noqa: PTH102 (a path cannot say in which open folder)
            except FileExistsError:
                is_new = False
            place = _open_folder(stack, part, place)
            if is_new:
                _give(place, owner)
        with contextlib.suppress(FileNotFoundError):
            os.stat(name, dir_fd=place, follow_symlinks=False)  # noqa: PTH116
            return
        _write(place, name, pieces, owner)


def _open_folder(stack: contextlib.ExitStack, name: str, place: int | None) -> int:
    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place)
    stack.callback(os.close, descriptor)
    return descriptor


def _write(place: int, name: str, pieces: Iterable[bytes], owner: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_DRAFT, dir_fd=place)  # noqa: PTH108 (of an interrupted load)
    try:
        with open(os.open(_DRAFT, flags, 0o644, dir_fd=place), "wb") as stream:  # noqa: PTH123
            for piece in pieces:
                stream.write(piece)
            _give(stream.fileno(), owner)
        os.replace(_DRAFT, name, src_dir_fd=place, dst_dir_fd=place)  # noqa: PTH105
    finally:
        with contextlib.suppress(OSError):
            os.unlink(_DRAFT, dir_fd=place)  # noqa: PTH108


def _give(descriptor: int, owner: int) -> None:
    if os.geteuid() == 0:
        os.fchown(descriptor, owner, 0)
