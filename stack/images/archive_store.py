"""The archive on disk: blobs that appear whole or not at all, the index, and who may change what at a time.

DIR/oci-layout, index.json, blobs/sha256/<hex>    an OCI image layout
DIR/partial/<hex>                                 blobs under way; what was interrupted goes on from there
DIR/locks/{use,index}                             held while blobs are read or added (shared) or dropped (alone)
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from stack.errors import ImageError
from stack.files import replace_file, sync_folder
from stack.images.archive_files import is_same, wait_lock
from stack.images.archive_layout import (
    LAYOUT,
    ArchivedImage,
    Blob,
    build_blob_name,
    parse_index,
    parse_kept_manifest,
    render_index,
)
from stack.images.manifests import Manifest, compute_digest, parse_layers
from stack.progress import ProgressEvent, Report, ignore

CHUNK_BYTES = 1024 * 1024
MEND_COMMAND = "stack pin --archive --verify"


class DamagedBlobError(ImageError):
    """A blob of the archive is gone, or its bytes are not those of its digest.

    Args:
        path: Where it lies.
        reason: What is wrong with it.
        image: What it is a part of, or None.
    """

    def __init__(self, path: Path, reason: str, image: ArchivedImage | None = None) -> None:
        self.path = path
        what = f" (a part of {image.reference})" if image is not None else ""
        super().__init__(f"the archive is damaged: {path}{what} {reason}", hint=f"`{MEND_COMMAND}` fetches it again")


class Archive:
    """The archive in one directory.

    Args:
        root: The directory; nothing is made there before something is kept.
        sleep: Waits for seconds.
    """

    def __init__(self, root: Path, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self.root = root
        self._sleep = sleep

    def blob_path(self, digest: str) -> Path:
        """Give where a blob lies."""
        return self.root / build_blob_name(digest)

    def partial_path(self, digest: str) -> Path:
        """Give where a blob lies while it is fetched."""
        return self.root / "partial" / digest.removeprefix("sha256:")

    def read_images(self) -> dict[str, ArchivedImage]:
        """Give every kept image by its digest.

        Raises:
            ImageError: The index cannot be read.
        """
        path = self.root / "index.json"
        try:
            return parse_index(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, AttributeError, ImageError) as err:
            raise ImageError(
                f"the archive is damaged: {path} cannot be read ({err})",
                hint=f"move it away and run `{MEND_COMMAND}`: blobs that are whole are not fetched again",
            ) from err
        except OSError as err:
            raise self.build_error("read", err) from err

    def find(self, digest: str) -> ArchivedImage | None:
        """Give a kept image of which every blob is there with its size, or None."""
        image = self.read_images().get(digest)
        return image if image is not None and all(self.has(blob) for blob in image.blobs) else None

    def has(self, blob: Blob) -> bool:
        """Tell whether a blob is there with its size; its bytes were checked when it came."""
        try:
            return self.blob_path(blob.digest).stat().st_size == blob.size_bytes
        except OSError:
            return False

    def read_small(self, digest: str) -> bytes:
        """Give the bytes of a blob that is metadata, checked.

        Raises:
            DamagedBlobError: It is gone or damaged.
        """
        path = self.blob_path(digest)
        try:
            body = path.read_bytes()
        except OSError as err:
            raise DamagedBlobError(path, f"cannot be read: {err.strerror}") from err
        if compute_digest(body) != digest:
            raise DamagedBlobError(path, "holds other bytes than those of its name")
        return body

    def read_manifest(self, image: ArchivedImage) -> Manifest:
        """Give the platform's manifest of a kept image: by its digest, down to the ID that its config gives it.

        Raises:
            ImageError: It is gone or damaged, or the index of the archive says otherwise.
        """
        manifest = parse_kept_manifest(self.read_small(image.digest))
        if manifest.is_index:
            named = {entry.get("digest") for entry in manifest.document.get("manifests") or []}
            manifest = parse_kept_manifest(self.read_small(image.platform_digest))
            if image.platform_digest not in named:
                raise DamagedBlobError(self.root / "index.json", "names a manifest that is not of the image", image)
        if parse_layers(manifest)[0] != image.image_id:
            raise DamagedBlobError(self.root / "index.json", "names a config that is not of the image", image)
        return manifest

    def read_pieces(self, blob: Blob, image: ArchivedImage | None = None) -> Iterator[bytes]:
        """Give a blob's bytes in pieces, of which the last comes only when all are as they should be.

        Raises:
            DamagedBlobError: It is gone or damaged.
        """
        path = self.blob_path(blob.digest)
        digest, held = hashlib.sha256(), b""
        try:
            with path.open("rb") as file:
                while piece := file.read(CHUNK_BYTES):
                    digest.update(piece)
                    if held:
                        yield held
                    held = piece
        except OSError as err:
            raise DamagedBlobError(path, f"cannot be read: {err.strerror}", image) from err
        if f"sha256:{digest.hexdigest()}" != blob.digest:
            raise DamagedBlobError(path, "holds other bytes than those of its name", image)
        yield held

    def put(self, body: bytes) -> Blob:
        """Keep a small blob whose bytes are known to be right."""
        blob = Blob(compute_digest(body), len(body))
        if not self.has(blob):
            path = self.blob_path(blob.digest)
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, body)
        return blob

    @contextlib.contextmanager
    def claim(self, blob: Blob, report: Report = ignore, task: str = "archive") -> Iterator[BinaryIO | None]:
        """Open a blob's partial file for nobody but us, or give None where the blob is there already.

        Whoever fetches the same blob at that time waits, and then finds it there.
        """
        while not self.has(blob):
            path = self.partial_path(blob.digest)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a+b") as file:
                wait_lock(file.fileno(), fcntl.LOCK_EX, lambda: report(_describe_wait(task)), self._sleep)
                if self.has(blob) or not is_same(file, path):
                    # It was finished, or thrown away, while we waited.
                    continue
                yield file
                return
        yield None

    def land(self, blob: Blob, file: BinaryIO) -> None:
        """Give a partial file whose bytes were checked its place among the blobs."""
        file.flush()
        os.fsync(file.fileno())
        target = self.blob_path(blob.digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        self.partial_path(blob.digest).replace(target)
        sync_folder(target.parent)

    def change_images(self, change: Callable[[dict[str, ArchivedImage]], None]) -> None:
        """Change the index, whole or not at all, with nobody else changing it."""
        with self._hold("index", fcntl.LOCK_EX, ignore):
            images = self.read_images()
            before = render_index(images.values())
            change(images)
            after = render_index(images.values())
            if after != before or not (self.root / "oci-layout").is_file():
                replace_file(self.root / "oci-layout", LAYOUT.encode())
                replace_file(self.root / "index.json", after.encode())

    @contextlib.contextmanager
    def using(self, report: Report = ignore, *, alone: bool = False) -> Iterator[None]:
        """Keep blobs from being dropped; `alone` keeps everybody else off, to drop some.

        Raises:
            ImageError: The directory cannot be written.
        """
        with self._hold("use", fcntl.LOCK_EX if alone else fcntl.LOCK_SH, report):
            yield

    @contextlib.contextmanager
    def _hold(self, name: str, kind: int, report: Report) -> Iterator[None]:
        path = self.root / "locks" / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as err:
            raise self.build_error("written", err) from err
        try:
            wait_lock(descriptor, kind, lambda: report(_describe_wait("archive")), self._sleep)
            yield
        finally:
            os.close(descriptor)

    def build_error(self, doing: str, err: OSError) -> ImageError:
        """Say that the archive cannot be read or written, and what mends it."""
        if err.errno in (errno.ENOSPC, errno.EDQUOT):
            return ImageError(
                f"the archive in {self.root} cannot be {doing}: the disk is full",
                hint="`stack pin --prune` drops what no lock uses; or choose a larger disk with `images.archive-dir`",
            )
        return ImageError(
            f"the archive in {self.root} cannot be {doing}: {err.strerror or err}",
            hint="give it back to this user with chown, or choose another directory with `images.archive-dir`",
        )


def _describe_wait(task: str) -> ProgressEvent:
    return ProgressEvent(task, "waiting for another process that works on the archive")
