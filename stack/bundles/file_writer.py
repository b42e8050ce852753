"""Writing a bundle that is one file: a tar, packed with zstd where its name ends in `.zst`.

FILE.part        the file under way; it gets its name when it is whole
FILE.part.json   which members of it are whole, so that an interrupted save goes on behind the last of them
FILE.part.draft  that list under way

A layer's hash is known only when all of it has passed, so the header before it is written last. Every member is
packed by itself, on all cores. What an earlier run left is hashed before it counts.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import BinaryIO

import zstandard

from stack.bundles.file_source import FileSource
from stack.bundles.files import HashThread, build_write_error, check_written, lock_alone
from stack.bundles.manifest import Bundle, BundleFile, render_manifest
from stack.bundles.names import MANIFEST_NAME, build_blob_path
from stack.bundles.problem import BundleError
from stack.bundles.tar_format import BLOCK_BYTES, build_header, count_padding, wrap_block
from stack.bundles.target import DRAFT_NAME, demand_own_part, demand_replaceable
from stack.bundles.writer import Writer
from stack.files import replace_file, sync_folder
from stack.progress import ProgressEvent, Report, ignore

# What `zstd` itself takes if nothing is said: twice as fast as 5, and a tenth smaller than 1.
_LEVEL = 3


@dataclass(frozen=True)
class _Member:
    """A member of the part file that is whole: its blob's hash and size, and where it begins and ends."""

    sha256: str
    size_bytes: int
    start: int
    end: int


class FileWriter(Writer):
    """One save to a file.

    Args:
        where: The file.
        wanted: Hashes that the bundle will have: a member of an earlier run that is none of them, and all
            behind it, are written anew.
        report: Told the bytes of what an interrupted save left, which is hashed before it counts.

    Raises:
        BundleError: There is something else of that name, another process writes it, or it cannot be written.
    """

    def __init__(self, where: Path, wanted: Collection[str], report: Report = ignore) -> None:
        super().__init__(where, report)
        self._wanted = frozenset(wanted)
        self.part = where.with_name(f"{where.name}.part")
        self._journal = where.with_name(f"{where.name}.part.json")
        self._draft = where.with_name(f"{where.name}.part.draft")
        self._members: list[_Member] = []
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL, threads=-1) if where.suffix == ".zst" else None

    def __enter__(self) -> FileWriter:
        with contextlib.ExitStack() as stack:
            try:
                demand_replaceable(self.where)
                self.where.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(lock_alone(self.part, self.where))
                self._file: BinaryIO = stack.enter_context(self.part.open("r+b", buffering=0))
                self._members = self._read_members()
                if not self._read_rows():
                    demand_own_part(self._file, self.part)
                self._cut(self._members[-1].end if self._members else 0)
            except OSError as err:
                raise build_write_error(self.where, err) from err
            self._stack = stack.pop_all()
        return self

    def has(self, sha256: str) -> int | None:
        """Give the size of a blob that is there, or None."""
        return next((member.size_bytes for member in self._members if member.sha256 == sha256), None)

    def has_file(self, file: BundleFile) -> bool:
        """Tell whether a file with a name of its own is there: they are written last, so it never is."""
        return False

    def read_blob(self, sha256: str) -> bytes | None:
        """Give the bytes of a small blob: none are kept, they are written last."""
        return None

    def add_blob(self, pieces: Iterable[bytes], size_bytes: int | None = None, sha256: str | None = None) -> str:
        """Write a blob and give its hash; one that turns out to be there already is dropped again."""
        if sha256 is not None and self.has(sha256) is not None:
            return sha256
        start = self._file.tell()
        try:
            found, written = self._write(pieces, lambda sha256: build_blob_path(sha256))
            check_written(written, found, size_bytes, sha256)
            if self.has(found) is not None:
                self._cut(start)
            else:
                self._members.append(_Member(found, written, start, self._file.tell()))
                rows = [asdict(member) for member in self._members]
                replace_file(self._journal, json.dumps(rows).encode(), draft=self._draft)
        except OSError as err:
            raise build_write_error(self.where, err) from err
        except BaseException:
            self._cut(start)
            raise
        return found

    def finish(self, bundle: Bundle) -> int:
        """Write the manifest, give the file its name, and give its size."""
        try:
            strangers = {member.sha256 for member in self._members} - {file.sha256 for file in bundle.files}
            if strangers:
                raise BundleError("the part file holds what the bundle does not name", hint=f"remove {self.part}")
            for path, body in (self._files | {MANIFEST_NAME: render_manifest(bundle).encode()}).items():
                self._write([body], lambda _, path=path: path)
            for _ in range(2):
                self._write_block(bytes(BLOCK_BYTES))
            size = self._file.tell()
            os.fsync(self._file.fileno())
            self.part.replace(self.where)
            self._journal.unlink(missing_ok=True)
            self._draft.unlink(missing_ok=True)
            sync_folder(self.where.absolute().parent)
        except OSError as err:
            raise build_write_error(self.where, err) from err
        return size

    def _write(self, pieces: Iterable[bytes], name: Callable[[str], str]) -> tuple[str, int]:
        """Write a member whose header comes last; give its hash and size."""
        start, written = self._file.tell(), 0
        digest = HashThread()
        try:
            self._write_block(build_header(DRAFT_NAME, 0))
            with self._pack() as write:
                for piece in pieces:
                    digest.update(piece)
                    write(piece)
                    written += len(piece)
                if written:
                    write(bytes(count_padding(written)))
        finally:
            found = digest.finish()
        header = build_header(name(found), written)
        if not written:
            self._cut(start)
            self._write_block(header)
        else:
            os.pwrite(self._file.fileno(), header if self._compressor is None else wrap_block(header), start)
        self.written_bytes += written
        return found, written

    @contextlib.contextmanager
    def _pack(self) -> Iterator[Callable[[bytes], object]]:
        if self._compressor is None:
            yield self._write_all
            return
        with self._compressor.stream_writer(SimpleNamespace(write=self._write_all), closefd=False) as stream:
            yield stream.write

    def _write_block(self, block: bytes) -> None:
        self._write_all(block if self._compressor is None else wrap_block(block))

    def _write_all(self, data: bytes) -> int:
        """Write all of it: a disk that is nearly full takes a part before it refuses."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) or 0 :]
        return len(data)

    def _cut(self, position: int) -> None:
        self._file.truncate(position)
        self._file.seek(position)

    def _read_members(self) -> list[_Member]:
        """Give the members of an interrupted run that are whole and wanted, up to the first that is not."""
        found, position = [], 0
        for row in self._read_rows():
            if row.start != position or row.sha256 not in self._wanted or not self._is_whole(row):
                break
            found.append(row)
            position = row.end
        return found

    def _read_rows(self) -> list[_Member]:
        try:
            return [_Member(**row) for row in json.loads(self._journal.read_bytes())]
        except (OSError, ValueError, TypeError):
            return []

    def _is_whole(self, row: _Member) -> bool:
        path = build_blob_path(row.sha256)
        head = wrap_block(build_header(path, row.size_bytes))
        head = head if self._compressor is not None else build_header(path, row.size_bytes)
        if os.pread(self._file.fileno(), len(head), row.start) != head:
            return False
        places = {path: (row.start + len(head), row.end)}
        is_compressed = self._compressor is not None
        source = FileSource(self.part, {path: row.size_bytes}, is_compressed=is_compressed, places=places)
        digest, size, task = hashlib.sha256(), 0, "check what is there"
        for piece in source.read_pieces(path):
            digest.update(piece)
            size += len(piece)
            self._report(ProgressEvent(task, "", size, row.size_bytes))
        self._report(ProgressEvent(task, "", size, row.size_bytes, "done"))
        return digest.hexdigest() == row.sha256 and size == row.size_bytes
