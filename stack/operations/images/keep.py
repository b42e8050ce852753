"""One image into the archive, with the configured registries, limits and mirrors."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from stack.config.lock import LockedImage
from stack.errors import ImageError
from stack.images.archive_fetch import Archiver
from stack.images.archive_layout import ArchivedImage
from stack.images.archive_store import Archive
from stack.images.manifests import build_platform
from stack.images.reference import apply_mirror, parse_reference
from stack.images.registry import Registry
from stack.images.registry_auth import read_docker_login
from stack.operations.images.archived import find_keep_cause
from stack.operations.images.pinned_engine import open_http
from stack.operations.pin.lock import describe_expiry
from stack.operations.session import Session, load_project_lock


@dataclass(frozen=True)
class Archived:
    """One image that is in the archive now.

    Attributes:
        image: Which one.
        was_here: Whether all of it was there before.
    """

    image: ArchivedImage
    was_here: bool


def keep_image(session: Session, entry: LockedImage) -> Archived:
    """Have the image of one entry of the lock in the archive.

    Raises:
        ImageError: It has no digest, or cannot be had.
    """
    if entry.digest is None:
        raise ImageError(
            f"`{entry.reference}` is built on this machine and has no registry's digest, so nothing can be archived",
            hint="pin an image that a registry has, or keep this one with `docker save`",
        )
    config = session.config.images
    archive = Archive(config.archive_dir)
    reference = parse_reference(entry.reference).with_digest(entry.digest)
    lock = str(session.lock_path.absolute())
    found = archive.find(entry.digest)
    if found is not None:
        note_lock(archive, found, lock)
        return Archived(found, True)
    with open_archiver(session, archive) as archiver:
        return Archived(archiver.keep(reference, apply_mirror(reference, config.mirror), lock=lock), False)


def note_lock(archive: Archive, image: ArchivedImage, lock: str) -> None:
    """Remember that a lock uses a kept image.

    Raises:
        ImageError: The archive cannot be written.
    """

    def change(images: dict[str, ArchivedImage]) -> None:
        kept = images.get(image.digest)
        if kept is not None and lock not in kept.locks:
            images[image.digest] = replace(kept, locks=(*kept.locks, lock))

    if lock not in image.locks:
        archive.change_images(change)


@contextmanager
def open_archiver(session: Session, archive: Archive) -> Iterator[Archiver]:
    """Give what fills the archive, with the configured limits."""
    config = session.config.images
    with open_http(session.config) as http:
        registry = Registry(
            http, timeout_seconds=config.timeout_seconds, retries=config.retries, credentials=read_docker_login
        )
        yield Archiver(archive, registry, session.report, build_platform(platform.machine()), config.retries)


def keep_engine(session: Session, device: str, now: datetime.datetime) -> str | None:
    """Have the engine's image that `up` runs in the archive, if it belongs there; gives a warning if it cannot.

    Raises:
        ConfigError: The lock is damaged.
    """
    entry = load_project_lock(session).images.get(f"engine/{device}")
    if entry is None or find_keep_cause(session.config.images, entry.digest, entry) is None:
        return None
    try:
        keep_image(session, entry)
    except ImageError as err:
        expiry = describe_expiry(entry, now)
        return f"the engine's image is not in the archive: {err.message}{f'; {expiry}' if expiry else ''}"
    return None
