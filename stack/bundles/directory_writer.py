"""Writing a bundle that is a directory: what is there already stays, and the manifest comes last.

Blobs are named by their hash, so new ones never change what an older manifest names: until the last moment the
directory is the bundle that it was before. Only files with names of their own (`index.json`, the tool) are replaced,
and while that lasts there is no manifest and thus no bundle. What is no part of a bundle is never touched.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from stack.bundles.files import (
    CHUNK_BYTES,
    HashThread,
    build_write_error,
    check_written,
    lock_alone,
)
from stack.bundles.manifest import MOST_BYTES, Bundle, BundleFile, render_manifest
from stack.bundles.names import BLOBS, MANIFEST_NAME, build_blob_path
from stack.bundles.partial import Partial, demand_bundle, find_own
from stack.bundles.writer import Writer
from stack.files import replace_file, sync_folder
from stack.progress import ProgressEvent, Report, ignore


class DirectoryWriter(Writer):
    """One save to a directory.

    Args:
        where: The directory; made where it is missing.
        report: Told the bytes of what an interrupted save left, which is hashed before it counts.

    Raises:
        BundleError: It is full of something else, is written by another process, or cannot be written.
    """

    def __init__(self, where: Path, report: Report = ignore) -> None:
        super().__init__(where, report)
        self._partial = Partial(where)
        self._own: set[str] = set()
        self._known: dict[str, int] = {}

    def __enter__(self) -> DirectoryWriter:
        with contextlib.ExitStack() as stack:
            try:
                demand_bundle(self.where)
                stack.enter_context(lock_alone(self._partial.lock, self.where))
                stack.callback(self._partial.let_go)
                self.before, self._own = find_own(self.where, self._partial)
                self._partial.draft.unlink(missing_ok=True)
                self._read_known()
            except OSError as err:
                raise build_write_error(self.where, err) from err
            self._stack = stack.pop_all()
        return self

    def has(self, sha256: str) -> int | None:
        """Give the size of a blob that is there, or None; one that no manifest knows is hashed first."""
        if sha256 in self._known:
            return self._known[sha256]
        path = self.where / build_blob_path(sha256)
        try:
            found, size = self._hash(path)
            if found != sha256:
                path.unlink()
                return None
        except FileNotFoundError:
            return None
        except OSError as err:
            raise build_write_error(path, err) from err
        self._known[sha256] = size
        return size

    def has_file(self, file: BundleFile) -> bool:
        """Tell whether a file that the older manifest names is there with its size."""
        try:
            return (self.where / file.path).stat().st_size == file.size_bytes
        except OSError:
            return False

    def read_blob(self, sha256: str) -> bytes | None:
        """Give the bytes of a small blob that is there, or None."""
        size = self.has(sha256)
        if size is None or size > MOST_BYTES:
            return None
        body = (self.where / build_blob_path(sha256)).read_bytes()
        return body if hashlib.sha256(body).hexdigest() == sha256 else None

    def add_blob(self, pieces: Iterable[bytes], size_bytes: int | None = None, sha256: str | None = None) -> str:
        """Write a blob and give its hash."""
        if sha256 is not None and self.has(sha256) is not None:
            return sha256
        draft = self._partial.draft
        try:
            digest, written = HashThread(), 0
            try:
                # Buffered: a disk that is nearly full takes a part of an unbuffered write, and says nothing.
                with draft.open("wb") as file:
                    for piece in pieces:
                        digest.update(piece)
                        written += file.write(piece)
                    file.flush()
                    os.fsync(file.fileno())
            finally:
                found = digest.finish()
            check_written(written, found, size_bytes, sha256)
            if self.has(found) is not None:
                return found
            self._note([build_blob_path(found)])
            target = self.where / build_blob_path(found)
            target.parent.mkdir(parents=True, exist_ok=True)
            draft.replace(target)
        except OSError as err:
            raise build_write_error(self.where, err) from err
        finally:
            draft.unlink(missing_ok=True)
        self._known[found] = written
        self.written_bytes += written
        return found

    def finish(self, bundle: Bundle) -> int:
        """Make it the bundle of this manifest, drop what only an older one named, and give the bytes of its files."""
        try:
            self._replace_files()
            for folder in {(self.where / path).parent for path in bundle.paths}:
                sync_folder(folder)
            stale = self._own - {*bundle.paths, MANIFEST_NAME}
            self._partial.note(sorted(stale))
            replace_file(self.where / MANIFEST_NAME, render_manifest(bundle).encode(), draft=self._partial.draft)
            self._drop(stale)
            self._partial.remove()
        except OSError as err:
            raise build_write_error(self.where, err) from err
        return bundle.size_bytes

    def _replace_files(self) -> None:
        changed = {path: body for path, body in self._files.items() if not _holds(self.where / path, body)}
        manifest = self.where / MANIFEST_NAME
        if changed and manifest.exists():
            manifest.replace(self._partial.manifest)
        self._note(changed)
        for path, body in changed.items():
            self.written_bytes += len(body)
            mode = 0o755 if path == "tool/install" else 0o644
            target = self.where / path
            target.parent.mkdir(parents=True, exist_ok=True)
            replace_file(target, body, mode=mode, draft=self._partial.draft)

    def _read_known(self) -> None:
        for file in self.before.paths.values() if self.before is not None else ():
            with contextlib.suppress(OSError):
                if file.path.startswith(BLOBS) and (self.where / file.path).stat().st_size == file.size_bytes:
                    self._known[file.sha256] = file.size_bytes

    def _note(self, paths: Iterable[str]) -> None:
        self._partial.note(new := [path for path in paths if path not in self._own])
        self._own |= set(new)

    def _drop(self, paths: Iterable[str]) -> None:
        for path in paths:
            (self.where / path).unlink(missing_ok=True)
        for folder in ("tool/wheels", "tool"):
            with contextlib.suppress(OSError):
                (self.where / folder).rmdir()

    def _hash(self, path: Path) -> tuple[str, int]:
        digest, done, task = hashlib.sha256(), 0, "check what is there"
        with path.open("rb", buffering=0) as file:
            total = os.fstat(file.fileno()).st_size
            while piece := file.read(CHUNK_BYTES):
                digest.update(piece)
                done += len(piece)
                self._report(ProgressEvent(task, "", done, total))
        self._report(ProgressEvent(task, "", done, total, "done"))
        return digest.hexdigest(), done


def _holds(path: Path, body: bytes) -> bool:
    try:
        return path.stat().st_size == len(body) and path.read_bytes() == body
    except OSError:
        return False
