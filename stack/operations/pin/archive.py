"""Keep the pinned engine's image on this machine, whatever upstream does: what `stack pin --archive` and so on do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack.checks.gpus import read_gpus
from stack.config.lock import LOCK_NAME, load_lock
from stack.errors import ConfigError, ImageError
from stack.images.archive_layout import ArchivedImage
from stack.images.archive_store import MEND_COMMAND, Archive
from stack.images.archive_verify import Damage, LockState, Verdict, drop_damaged, find_damage, judge_use, prune_archive
from stack.images.reference import apply_mirror, parse_reference
from stack.images.references import load_published_images
from stack.operations.images.engine_image import describe_cuda_image
from stack.operations.images.keep import Archived, keep_image, open_archiver
from stack.operations.pin.check import read_pins
from stack.operations.pin.run import choose_pin_device
from stack.operations.session import Session, load_project_lock
from stack.operations.upgrade.rollback_find import read_kept_digests


@dataclass(frozen=True)
class PruneResult:
    """What was dropped.

    Attributes:
        verdicts: Every image that was in the archive, and whether it stays.
        freed_bytes: What was freed, or would be.
        is_dry_run: Whether nothing was dropped.
    """

    verdicts: Sequence[Verdict]
    freed_bytes: int
    is_dry_run: bool


def run_archive(session: Session) -> list[Archived]:
    """Have the pinned engine's image in the archive: of this machine's device, where the lock has several.

    Raises:
        ImageError: The lock pins none, it is built here, or it cannot be had.
    """
    _, entries = read_pins(session)
    image = describe_cuda_image(session.config, load_project_lock(session), load_published_images())
    device = choose_pin_device(session.config, read_gpus(), image)
    chosen = [entries[device]] if device in entries else list(entries.values())
    return [keep_image(session, entry) for entry in chosen]


def run_verify(session: Session, *, mend: bool = False) -> list[ArchivedImage]:
    """Hash everything in the archive; give the images that are whole.

    Args:
        session: The run.
        mend: Fetch again what is damaged.

    Raises:
        ImageError: Something is damaged, or cannot be had any more.
    """
    archive = Archive(session.config.images.archive_dir)
    images = archive.read_images()
    damage = find_damage(archive, images.values(), session.report)
    if damage and not mend:
        raise build_damage_error(archive, damage)
    if damage:
        _mend(session, archive, damage)
    return list(images.values())


def build_damage_error(archive: Archive, damage: Sequence[Damage]) -> ImageError:
    """Name everything that is damaged, and what mends it."""
    lines = "\n".join(f"- {item.message.partition(': ')[2]}" for item in damage)
    return ImageError(
        f"the archive in {archive.root} is damaged:\n{lines}", hint=f"`{MEND_COMMAND}` fetches that again"
    )


def _mend(session: Session, archive: Archive, damage: Sequence[Damage]) -> None:
    drop_damaged(archive, damage)
    shared = {item.blob.digest for item in damage}
    with open_archiver(session, archive) as archiver:
        for image in archive.read_images().values():
            if any(blob.digest in shared for blob in image.blobs):
                reference = parse_reference(image.reference).with_digest(image.digest)
                archiver.keep(reference, apply_mirror(reference, session.config.images.mirror))


def run_prune(session: Session, *, dry_run: bool = False, anyway: bool = False) -> PruneResult:
    """Drop the archive's images that no known lock uses.

    Known are the locks for which something was archived, this project's, those that projects without a stack.toml
    have in the state, and those that `stack rollback` can return to.

    Raises:
        ImageError: The archive cannot be read or written.
    """
    archive = Archive(session.config.images.archive_dir)
    states = session.paths.state.parent.glob(f"*/{LOCK_NAME}")

    def judge(images: Sequence[ArchivedImage]) -> list[Verdict]:
        paths = {*(path for image in images for path in image.locks), str(session.lock_path.absolute())}
        locks = {path: read_lock_state(Path(path)) for path in sorted({*paths, *map(str, states)})}
        return judge_use(images, {**locks, **read_kept_digests(session.paths.state.parent)}, anyway=anyway)

    verdicts, freed = prune_archive(archive, judge, session.report, dry_run=dry_run)
    return PruneResult(verdicts, freed, dry_run)


def read_lock_state(path: Path) -> LockState:
    """Give the digests that a lock names, why it cannot be read, or None where it is gone."""
    if not path.parent.is_dir():
        # The folder of a disk that is not mounted now looks like one that was deleted.
        return "cannot be read (its folder is not here)"
    if not path.exists():
        return None
    try:
        lock = load_lock(path)
    except ConfigError:
        return "cannot be read (it is damaged)"
    return {entry.digest for entry in lock.images.values() if entry.digest}


def build_prune_document(result: PruneResult) -> Mapping[str, Any]:
    """Give the result of a prune as a JSON document."""
    return {
        "schema_version": 1,
        "dry_run": result.is_dry_run,
        "freed_bytes": result.freed_bytes,
        "images": [
            describe_image(item.image) | {"kept": item.is_used, "reason": item.reason} for item in result.verdicts
        ],
    }


def describe_image(image: ArchivedImage) -> dict[str, Any]:
    """Give what is known of a kept image."""
    return {
        "reference": image.reference,
        "digest": image.digest,
        "commit": image.commit,
        "size_bytes": image.total_bytes,
        "kept_at": image.kept_at,
        "locks": list(image.locks),
    }
