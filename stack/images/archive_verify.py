"""Hash everything in the archive, and drop from it what is no longer used."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stack.images.archive_blob import Meter
from stack.images.archive_layout import ArchivedImage, Blob
from stack.images.archive_store import Archive, DamagedBlobError
from stack.progress import ProgressEvent, Report

_TASK = "verify the archive"


@dataclass(frozen=True)
class Damage:
    """One blob that is not as it should be.

    Attributes:
        image: What it is a part of.
        blob: Which one.
        path: Where it lies.
        message: What is wrong.
    """

    image: ArchivedImage
    blob: Blob
    path: Path
    message: str


def find_damage(archive: Archive, images: Iterable[ArchivedImage], report: Report) -> list[Damage]:
    """Hash every blob of these images, one that several share once.

    Raises:
        ImageError: The archive cannot be read.
    """
    owners = {blob.digest: (image, blob) for image in images for blob in image.blobs}
    meter = Meter(report, _TASK, sum(blob.size_bytes for _, blob in owners.values()))
    found = []
    with archive.using(report):
        for image, blob in owners.values():
            path = archive.blob_path(blob.digest)
            try:
                for piece in archive.read_pieces(blob, image):
                    meter.add(len(piece))
            except DamagedBlobError as err:
                found.append(Damage(image, blob, path, err.message))
    end: Literal["failed", "done"] = "failed" if found else "done"
    report(ProgressEvent(_TASK, f"{len(owners)} blobs, {len(found)} damaged", state=end))
    return found


def drop_damaged(archive: Archive, damage: Iterable[Damage]) -> None:
    """Take damaged blobs away, so that they are fetched again."""
    for item in damage:
        with contextlib.suppress(FileNotFoundError):
            item.path.unlink()


LockState = set[str] | str | None
"""What a stack.lock says: the digests it names, why it cannot be read, or None where it is gone."""


@dataclass(frozen=True)
class Verdict:
    """Whether a kept image stays.

    Attributes:
        image: Which one.
        is_used: Whether it stays.
        reason: Why, or why not.
    """

    image: ArchivedImage
    is_used: bool
    reason: str


def judge_use(
    images: Iterable[ArchivedImage], locks: Mapping[str, LockState], *, anyway: bool = False
) -> list[Verdict]:
    """Say which kept images a lock uses.

    Args:
        images: The images.
        locks: What each known stack.lock says, by its path.
        anyway: Whether to give up images that only a lock uses which cannot be read now.
    """
    verdicts = []
    for image in images:
        users = [path for path, state in locks.items() if isinstance(state, set) and image.digest in state]
        silent = [f"{path} {state}" for path, state in locks.items() if isinstance(state, str) and path in image.locks]
        if users:
            verdicts.append(Verdict(image, True, f"used by {', '.join(users)}"))
        elif silent and not anyway:
            verdicts.append(Verdict(image, True, f"{'; '.join(silent)}, and it used the image"))
        else:
            verdicts.append(Verdict(image, False, "no lock uses it"))
    return verdicts


def prune_archive(
    archive: Archive, judge: Callable[[Sequence[ArchivedImage]], list[Verdict]], report: Report, *, dry_run: bool
) -> tuple[list[Verdict], int]:
    """Drop the images that are not used, and every blob and partial file that no image left has.

    Args:
        archive: The archive.
        judge: Says what is used, while nobody adds anything.
        report: Told for whom we wait.
        dry_run: Whether to drop nothing.

    Returns:
        The verdicts, and how many bytes that frees.

    Raises:
        ImageError: The archive cannot be read or written.
    """
    if not archive.root.is_dir():
        return [], 0
    with archive.using(report, alone=True):
        images = archive.read_images()
        verdicts = judge(list(images.values()))
        used = {item.image.digest: item.image for item in verdicts if item.is_used}
        wanted = {blob.digest.removeprefix("sha256:") for image in used.values() for blob in image.blobs}
        try:
            spare = [path for path in _list_files(archive) if path.name not in wanted]
            freed = sum(path.stat().st_size for path in spare)
            if not dry_run:
                archive.change_images(lambda found: _drop(found, used))
                for path in spare:
                    path.unlink()
        except OSError as err:
            raise archive.build_error("written", err) from err
    return verdicts, freed


def _list_files(archive: Archive) -> list[Path]:
    folders = (archive.root / "blobs" / "sha256", archive.root / "partial")
    return [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]


def _drop(images: dict[str, ArchivedImage], used: Mapping[str, ArchivedImage]) -> None:
    for digest in [digest for digest in images if digest not in used]:
        del images[digest]
