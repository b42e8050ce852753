"""Fill the archive from a registry: the registry's own blobs, side by side, taken up again where they broke off."""

from __future__ import annotations

import concurrent.futures
import datetime
import re
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stack.errors import ImageError
from stack.images.archive_blob import BlobFetch, BlobSource, Meter
from stack.images.archive_layout import ArchivedImage, Blob, list_blobs, parse_kept_manifest
from stack.images.archive_store import Archive, DamagedBlobError
from stack.images.manifests import Manifest, parse_config, select_platform
from stack.images.reference import ImageReference
from stack.images.registry import Registry
from stack.progress import ProgressEvent, Report

_WORKERS = 4
# What is left for everybody else on the disk.
_SPARE_BYTES = 256 * 1024**2
_REVISION = "org.opencontainers.image.revision"
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Archiver:
    """Brings images into an archive.

    Attributes:
        archive: The archive.
        registry: Whom to ask.
        report: Told the bytes.
        platform: This machine's, as `os/architecture`.
        retries: How often a blob that broke off is taken up again without a byte of progress.
        sleep: Waits for seconds.
    """

    archive: Archive
    registry: Registry
    report: Report
    platform: str = "linux/amd64"
    retries: int = 4
    sleep: Callable[[float], None] = time.sleep

    def keep(
        self, reference: ImageReference, asked: ImageReference, *, lock: str | None = None, now: str | None = None
    ) -> ArchivedImage:
        """Have every blob of an image in the archive, and its entry in the index.

        Args:
            reference: What it is called upstream, with its digest.
            asked: What to ask for: the same, or a mirror's name for it.
            lock: The stack.lock that uses it.
            now: The time; None takes the clock's.

        Raises:
            ImageError: It cannot be had, its bytes are wrong, or the disk refuses.
        """
        assert reference.digest is not None
        task = f"archive {reference.repository.removeprefix('library/')}"
        try:
            with self.archive.using(self.report):
                image = self._describe(asked.with_tag(None).with_digest(reference.digest), task)
                image = replace(
                    image,
                    reference=str(reference.with_digest(None)),
                    kept_at=now or datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                )
                # Entered before it is whole: what an interrupted run has brought is not dropped as nobody's.
                self._enter(image, lock)
                self._fetch_blobs(image, asked, task)
                image = self._enter(replace(image, commit=self._read_commit(image)), lock)
        except OSError as err:
            raise self.archive.build_error("written", err) from err
        except ImageError as err:
            self.report(ProgressEvent(task, err.message, state="failed"))
            raise
        self.report(ProgressEvent(task, image.digest, image.total_bytes, image.total_bytes, "done"))
        return image

    def _describe(self, asked: ImageReference, task: str) -> ArchivedImage:
        """Read what the image consists of; its index and manifest are kept on the way."""
        self.report(ProgressEvent(task, f"asking {asked.registry}"))
        # Who served the digest is what the image's identity rests on: it is whoever was asked, not who could have been.
        old = self.archive.read_images().get(asked.digest or "")
        found = manifest = self._read_manifest(asked) if old else self.registry.fetch_manifest(asked)
        if found.is_index:
            manifest = self._read_manifest(asked.with_digest(select_platform(found, self.platform)))
        config, layers = list_blobs(manifest)
        metas = [self.archive.put(body) for body in dict.fromkeys((found.body, manifest.body))]
        return ArchivedImage(
            digest=found.digest,
            media_type=found.media_type,
            size_bytes=len(found.body),
            reference=str(asked.with_digest(None)),
            served_by=old.served_by if old else str(asked),
            platform_digest=manifest.digest,
            image_id=config.digest,
            blobs=(*metas, config, *layers),
        )

    def _read_manifest(self, asked: ImageReference) -> Manifest:
        assert asked.digest is not None
        try:
            return parse_kept_manifest(self.archive.read_small(asked.digest))
        except DamagedBlobError:
            return self.registry.fetch_manifest(asked)

    def _enter(self, image: ArchivedImage, lock: str | None) -> ArchivedImage:
        entered = image

        def change(images: dict[str, ArchivedImage]) -> None:
            nonlocal entered
            old = images.get(image.digest)
            locks = {*(old.locks if old else ()), *([lock] if lock else [])}
            kept_at = old.kept_at if old else image.kept_at
            images[image.digest] = entered = replace(image, locks=tuple(sorted(locks)), kept_at=kept_at)

        self.archive.change_images(change)
        return entered

    def _read_commit(self, image: ArchivedImage) -> str | None:
        word = parse_config(self.archive.read_small(image.image_id)).labels.get(_REVISION, "")
        return word if _COMMIT.fullmatch(word) else None

    def _fetch_blobs(self, image: ArchivedImage, asked: ImageReference, task: str) -> None:
        missing = [blob for blob in image.blobs if not self.archive.has(blob)]
        self._check_space(missing)
        meter = Meter(self.report, task, image.total_bytes)
        meter.add(image.total_bytes - sum(blob.size_bytes for blob in missing))
        pool = concurrent.futures.ThreadPoolExecutor(_WORKERS, thread_name_prefix="archive")
        stopped = threading.Event()
        try:
            # The largest first: it takes longest.
            order = sorted(missing, key=lambda blob: -blob.size_bytes)
            source = BlobSource(self.archive, self.registry, asked, meter, stopped.is_set, self.retries, self.sleep)
            futures = [pool.submit(BlobFetch(source, blob).run) for blob in order]
            for future in concurrent.futures.as_completed(futures):
                future.result()
        finally:
            stopped.set()
            pool.shutdown(wait=True, cancel_futures=True)

    def _check_space(self, missing: Sequence[Blob]) -> None:
        if not missing:
            return
        self.archive.root.mkdir(parents=True, exist_ok=True)
        partial = sum(_size_of(self.archive.partial_path(blob.digest)) for blob in missing)
        needed = sum(blob.size_bytes for blob in missing) - partial
        free = shutil.disk_usage(self.archive.root).free
        if needed + _SPARE_BYTES > free:
            raise ImageError(
                f"the archive in {self.archive.root} has no room: {needed / 1e9:.1f} GB are to come and "
                f"{free / 1e9:.1f} GB are free",
                hint="`stack pin --prune` drops what no lock uses; or choose a larger disk with `images.archive-dir`",
            )


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
