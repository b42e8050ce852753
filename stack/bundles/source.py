"""Reading a bundle that somebody else may have written: what is in it, before anything is unpacked.

A directory and a file give the same: sizes by path, and the bytes of each. Everything that is no plain file of a
known path is refused here, so nothing behind this module meets a link, a device or a path that climbs out.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

import zstandard

from stack.bundles.manifest import MOST_BYTES, Bundle, parse_manifest
from stack.bundles.names import MANIFEST_NAME, find_collisions, find_name_fault, find_path_fault
from stack.bundles.problem import BundleError, BundleProblem, DamagedBundleError
from stack.bundles.tar_format import (
    BLOCK_BYTES,
    RAW_FRAME_BYTES,
    Read,
    count_padding,
    find_frame_end,
    is_compressed,
    parse_header,
    unwrap_block,
)

CHUNK_BYTES = 1024**2
PARTIAL_NAME = "partial"
# `tool/wheels`: a folder in one that lies so deep is not looked into.
_DEEPEST = 2
# What zstd may ask of memory to unpack a frame: that of its highest level without `--ultra`.
_WINDOW_BYTES = 128 * 1024**2
_LOOK = "see that this user may read it, and that its disk is there (`ls -l`, `dmesg`)"


class Source(Protocol):
    """A bundle that can be read.

    Attributes:
        where: The file or directory.
        sizes: Every file's size by its path, the manifest's too.
        problems: What no bundle has.
    """

    where: Path
    sizes: dict[str, int]
    problems: list[BundleProblem]

    def read_pieces(self, path: str) -> Iterator[bytes]:
        """Give a file's bytes, no more than its size; fewer where it is cut."""
        ...


def open_source(where: Path) -> Source:
    """Open a bundle, and list what is in it.

    Raises:
        BundleError: It is none, or cannot be read.
    """
    try:
        if where.is_dir():
            return _open_directory(where)
        if where.is_file():
            return _open_file(where)
    except OSError as err:
        raise BundleError(f"{err.filename or where} cannot be read: {err.strerror or err}", hint=_LOOK) from err
    raise BundleError(f"there is no bundle {where}", hint=f"`stack bundle save {where}` makes one")


def load_manifest(source: Source) -> Bundle:
    """Read the manifest of an open bundle; nothing else of it is believed before this.

    Raises:
        DamagedBundleError: The bundle holds what no bundle has.
        BundleError: It has no manifest, or not a right one.
    """
    if source.problems:
        raise DamagedBundleError(source.where, source.problems)
    size = source.sizes.get(MANIFEST_NAME)
    if size is None:
        raise BundleError(
            f"{source.where} has no {MANIFEST_NAME}: it is no bundle, or the command that saved it was interrupted",
            hint=f"`stack bundle save {source.where}` goes on where it ended",
        )
    if size > MOST_BYTES:
        raise BundleError(f"{source.where}: {MANIFEST_NAME} has {size} bytes, which no manifest has")
    return parse_manifest(read_whole(source, MANIFEST_NAME), source.where)


def read_whole(source: Source, path: str) -> bytes:
    """Give the bytes of a small file.

    Raises:
        BundleError: It is too large for that, or cut.
    """
    if source.sizes.get(path, 0) > MOST_BYTES:
        raise BundleError(f"{source.where}: {path} is far too large")
    body = b"".join(source.read_pieces(path))
    if len(body) != source.sizes.get(path):
        raise BundleError(f"{source.where}: {path} is cut")
    return body


@dataclass
class DirectorySource:
    """A bundle that is a directory."""

    where: Path
    sizes: dict[str, int] = field(default_factory=dict)
    problems: list[BundleProblem] = field(default_factory=list)

    def read_pieces(self, path: str) -> Iterator[bytes]:
        """Give a file's bytes."""
        # Not through a link that took the file's place since it was listed.
        descriptor = os.open(self.where / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        left = self.sizes[path]
        with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123
            while left and (piece := file.read(min(CHUNK_BYTES, left))):
                left -= len(piece)
                yield piece


def _open_directory(where: Path) -> DirectorySource:
    source = DirectorySource(where)
    _list_folder(where, "", source)
    _add_collisions(source)
    return source


def _list_folder(folder: Path, prefix: str, source: DirectorySource) -> None:
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = f"{prefix}{entry.name}"
            if path == PARTIAL_NAME:
                continue  # of a save that is under way or was interrupted: no part of the bundle
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode) and path.count("/") >= _DEEPEST:
                source.problems.append(BundleProblem(path, "refused", "lies deeper than any folder of a bundle"))
            elif stat.S_ISDIR(mode):
                _list_folder(folder / entry.name, f"{path}/", source)
            elif not stat.S_ISREG(mode):
                what = "a link" if stat.S_ISLNK(mode) else "no plain file"
                source.problems.append(BundleProblem(path, "refused", f"is {what}"))
            else:
                _add(source, path, entry.stat(follow_symlinks=False).st_size)


@dataclass
class FileSource:
    """A bundle that is one file."""

    where: Path
    is_compressed: bool
    sizes: dict[str, int] = field(default_factory=dict)
    problems: list[BundleProblem] = field(default_factory=list)
    places: dict[str, tuple[int, int]] = field(default_factory=dict)

    def read_pieces(self, path: str) -> Iterator[bytes]:
        """Give a file's bytes; a bundle that was packed smaller is unpacked on the way."""
        start, end = self.places[path]
        left = self.sizes[path]
        with self.where.open("rb", buffering=0) as file, contextlib.ExitStack() as stack:
            file.seek(start)
            stream: IO[bytes] | zstandard.ZstdDecompressionReader = file
            if self.is_compressed and left:
                unpack = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES)
                stream = stack.enter_context(unpack.stream_reader(_Part(file, end - start), read_size=CHUNK_BYTES))
            try:
                while left and (piece := stream.read(min(CHUNK_BYTES, left))):
                    left -= len(piece)
                    yield piece
            except zstandard.ZstdError:
                return  # its bytes are others than those that were packed: whoever counts or hashes finds that


class _Part:
    """So many bytes of a file from where it stands."""

    def __init__(self, file: IO[bytes], size_bytes: int) -> None:
        self._file, self._left = file, size_bytes

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(min(size if size >= 0 else self._left, self._left))
        self._left -= len(piece)
        return piece


def _open_file(where: Path) -> FileSource:
    with where.open("rb") as file:
        size = os.fstat(file.fileno()).st_size

        def read(position: int, count: int) -> bytes:
            return os.pread(file.fileno(), count, position)

        source = FileSource(where, is_compressed(read(0, 4)))
        position: int | None = 0
        while position is not None:
            if position >= size:
                raise BundleError(f"{where} is cut: it has no end")
            position = _read_member(source, read, position, size)
    _add_collisions(source)
    return source


def _read_member(source: FileSource, read: Read, position: int, end: int) -> int | None:
    if source.is_compressed:
        block, position = unwrap_block(read(position, RAW_FRAME_BYTES)), position + RAW_FRAME_BYTES
        if block is None:
            raise BundleError(
                f"{source.where} is damaged, or was not packed by `stack bundle save`",
                hint="unpack it (`tar --zstd -xf`) and use the directory",
            )
    else:
        block, position = read(position, BLOCK_BYTES), position + BLOCK_BYTES
    if len(block) < BLOCK_BYTES:
        raise BundleError(f"{source.where} is cut at byte {position - BLOCK_BYTES}")
    member = parse_header(block, source.where)
    if member is None:
        return None
    start = position
    if member.size and source.is_compressed:
        position = find_frame_end(read, position, source.where)
    elif member.size:
        position += member.size + count_padding(member.size)
    if position > end:
        raise BundleError(f"{source.where} is cut: `{member.name}` has no end")
    if not member.isdir():
        source.places[member.name] = (start, position)
        _add(source, member.name, member.size)
    elif member.name not in (".", "") and (fault := find_name_fault(member.name)) is not None:
        source.problems.append(BundleProblem(member.name, "refused", fault))
    return position


def _add(source: DirectorySource | FileSource, path: str, size_bytes: int) -> None:
    fault = find_path_fault(path)
    if fault is not None:
        source.problems.append(BundleProblem(path, "extra" if "no part" in fault else "refused", fault))
    elif path in source.sizes:
        source.problems.append(BundleProblem(path, "refused", "is there twice"))
    else:
        source.sizes[path] = size_bytes


def _add_collisions(source: DirectorySource | FileSource) -> None:
    for path in find_collisions(source.sizes):
        source.problems.append(BundleProblem(path, "refused", "has a name that another file has on some file systems"))
