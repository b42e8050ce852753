"""Reading a bundle that is one file, packed smaller or not."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import zstandard

from stack.bundles.files import CHUNK_BYTES
from stack.bundles.names import find_name_fault
from stack.bundles.problem import BundleError, BundleProblem
from stack.bundles.source import Source
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

# What zstd may ask of memory to unpack a frame: that of its highest level without `--ultra`.
_WINDOW_BYTES = 128 * 1024**2


@dataclass
class FileSource(Source):
    """A bundle that is one file.

    Attributes:
        is_compressed: Whether it was packed smaller.
        places: Where each file's bytes begin and end, by its path.
    """

    is_compressed: bool = field(kw_only=True)
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


def open_file(where: Path) -> FileSource:
    """List what is in a file, header by header.

    Raises:
        BundleError: It is cut, or no bundle.
    """
    with where.open("rb") as file:
        size = os.fstat(file.fileno()).st_size

        def read(position: int, count: int) -> bytes:
            return os.pread(file.fileno(), count, position)

        source = FileSource(where, is_compressed=is_compressed(read(0, 4)))
        position: int | None = 0
        while position is not None:
            if position >= size:
                raise BundleError(f"{where} is cut: it has no end")
            position = _read_member(source, read, position, size)
    source.add_collisions()
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
        source.add(member.name, member.size)
    elif member.name not in (".", "") and (fault := find_name_fault(member.name)) is not None:
        source.problems.append(BundleProblem(member.name, "refused", fault))
    return position
