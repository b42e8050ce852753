"""Writing a bundle that is a directory: what is there already stays, and the manifest comes last.

Blobs are named by their hash, so new ones never change what an older manifest names: until the last moment the
directory is the bundle that it was before. Only files with names of their own (`index.json`, the tool) are replaced,
and while that lasts there is no manifest and thus no bundle.

DIR/partial/bundle.json   the older manifest meanwhile; its blobs need no hashing
DIR/partial/<number>      a blob under way
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from stack.bundles.files import (
    HashThread,
    build_write_error,
    check_written,
    lock_alone,
    sync_folder,
    write_whole,
)
from stack.bundles.manifest import MOST_BYTES, Bundle, BundleFile, parse_manifest, render_manifest
from stack.bundles.names import BLOBS, MANIFEST_NAME, build_blob_path
from stack.bundles.problem import BundleError
from stack.bundles.source import PARTIAL_NAME


class DirectoryWriter:
    """One save to a directory; use it as a context manager.

    Args:
        where: The directory; made where it is missing.

    Raises:
        BundleError: It is full of something else, is written by another process, or cannot be written.
    """

    def __init__(self, where: Path) -> None:
        self.where = where
        self._known: dict[str, int] = {}
        self._files: dict[str, bytes] = {}
        self._stack = contextlib.ExitStack()
        self.before: Bundle | None = None
        self.written_bytes = 0

    def __enter__(self) -> DirectoryWriter:
        partial = self.where / PARTIAL_NAME
        try:
            if self.where.is_dir() and not _is_ours(self.where):
                raise BundleError(
                    f"{self.where} is not empty, and holds no bundle", hint="name a new or an empty directory"
                )
            partial.mkdir(parents=True, exist_ok=True)
            self._stack.enter_context(lock_alone(partial / "lock", self.where))
            for path in partial.iterdir():
                if path.name not in ("lock", MANIFEST_NAME):
                    path.unlink()
            self._read_before()
        except OSError as err:
            raise build_write_error(self.where, err) from err
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def has(self, sha256: str) -> int | None:
        """Give the size of a blob that is there, or None; one that no manifest knows is hashed first."""
        if sha256 in self._known:
            return self._known[sha256]
        path = self.where / build_blob_path(sha256)
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
                size = file.tell()
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
        """Write a blob and give its hash.

        Args:
            pieces: Its bytes.
            size_bytes: Its size, where that is known.
            sha256: The hash that it must have, where that is known.

        Raises:
            BundleError: Other bytes came, or the disk refuses.
        """
        if sha256 is not None and self.has(sha256) is not None:
            return sha256
        draft = self.where / PARTIAL_NAME / f"{os.getpid()}-{len(self._known)}"
        try:
            digest, written = HashThread(), 0
            try:
                with draft.open("wb", buffering=0) as file:
                    for piece in pieces:
                        digest.update(piece)
                        written += file.write(piece)
                    os.fsync(file.fileno())
            finally:
                found = digest.finish()
            check_written(written, found, size_bytes, sha256)
            if self.has(found) is not None:
                return found
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

    def add_body(self, body: bytes) -> str:
        """Write a small blob and give its hash; one that is there is left as it is."""
        return self.add_blob([body], len(body), hashlib.sha256(body).hexdigest())

    def add_file(self, path: str, body: bytes) -> str:
        """Remember a small file with a name of its own, which `finish` writes, and give its hash."""
        self._files[path] = body
        return hashlib.sha256(body).hexdigest()

    def finish(self, bundle: Bundle) -> int:
        """Make it the bundle of this manifest, drop what only an older one named, and give the bytes of its files."""
        try:
            self._replace_files()
            for folder in {(self.where / path).parent for path in bundle.paths}:
                sync_folder(folder)
            write_whole(self.where / MANIFEST_NAME, render_manifest(bundle).encode())
            (self.where / PARTIAL_NAME / MANIFEST_NAME).unlink(missing_ok=True)
            self._drop_strangers(bundle)
        except OSError as err:
            raise build_write_error(self.where, err) from err
        return bundle.size_bytes

    def _replace_files(self) -> None:
        changed = {path: body for path, body in self._files.items() if not _holds(self.where / path, body)}
        manifest = self.where / MANIFEST_NAME
        if changed and manifest.exists():
            manifest.replace(self.where / PARTIAL_NAME / MANIFEST_NAME)
        for path, body in changed.items():
            self.written_bytes += len(body)
            write_whole(self.where / path, body, mode=0o755 if path == "tool/install" else 0o644)

    def _read_before(self) -> None:
        for path in (self.where / MANIFEST_NAME, self.where / PARTIAL_NAME / MANIFEST_NAME):
            try:
                self.before = parse_manifest(path.read_bytes(), self.where)
                break
            except (FileNotFoundError, BundleError):
                continue
        for file in self.before.paths.values() if self.before is not None else ():
            with contextlib.suppress(OSError):
                if file.path.startswith(BLOBS) and (self.where / file.path).stat().st_size == file.size_bytes:
                    self._known[file.sha256] = file.size_bytes

    def _drop_strangers(self, bundle: Bundle) -> None:
        wanted = {*bundle.paths, MANIFEST_NAME}
        for folder in ("blobs", "tool"):
            for path in sorted((self.where / folder).rglob("*")):
                if not path.is_dir() and path.relative_to(self.where).as_posix() not in wanted:
                    path.unlink()
        if not any(path.startswith("tool/") for path in wanted):
            shutil.rmtree(self.where / "tool", ignore_errors=True)
        self._stack.close()
        shutil.rmtree(self.where / PARTIAL_NAME, ignore_errors=True)


def _is_ours(where: Path) -> bool:
    names = {path.name for path in where.iterdir()}
    return not names or bool(names & {MANIFEST_NAME, PARTIAL_NAME})


def _holds(path: Path, body: bytes) -> bool:
    try:
        return path.stat().st_size == len(body) and path.read_bytes() == body
    except OSError:
        return False
