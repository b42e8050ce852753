"""`stack pin --check`: whether what stack.lock pins can still be had, and for how long."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from stack.checks.finding import Finding, Outcome, Report
from stack.config.lock import LockedEngine, LockedImage
from stack.containers.daemon import read_image
from stack.errors import ImageError
from stack.images.archive_layout import ArchivedImage
from stack.images.archive_store import Archive
from stack.images.reference import ImageReference, apply_mirror, parse_reference
from stack.images.registry_errors import MissingImageError
from stack.operations.pin.lock import describe_expiry, find_kept_nights, read_age_days
from stack.operations.pin.world import RegistryDesk, connect_if_there
from stack.operations.project import load_facts
from stack.operations.session import Session, load_project_lock

_SOON_DAYS = 4
_AGAIN = "`stack pin COMMIT` looks for it anew"

FetchDigest = Callable[[ImageReference], str]
FindImage = Callable[[str], Mapping[str, Any] | None]


@dataclass(frozen=True)
class PinWitness:
    """Who can tell of a pinned image.

    Attributes:
        fetch_digest: Gives what a reference points at now, or raises ImageError.
        find_image: Gives the daemon's inspect document of a name, or None.
        mirror: `images.mirror`.
        image_ids: The image ID behind each reference when it was accepted.
        now: The time.
        find_archived: Gives an image that the archive has by its digest, or None.
    """

    fetch_digest: FetchDigest
    find_image: FindImage
    mirror: Mapping[str, str]
    image_ids: Mapping[str, str]
    now: datetime.datetime
    find_archived: Callable[[str], ArchivedImage | None] = lambda digest: None


def read_pins(session: Session) -> tuple[LockedEngine, dict[str, LockedImage]]:
    """Give the engine that stack.lock holds, and its images by device.

    Raises:
        ImageError: The lock holds none.
    """
    lock = load_project_lock(session)
    found = {name.removeprefix("engine/"): entry for name, entry in lock.images.items() if name.startswith("engine/")}
    if lock.engine is None or not found:
        raise ImageError(
            f"{session.lock_path} holds no engine", hint="`stack pin COMMIT` writes it, and so does `stack up`"
        )
    return lock.engine, found


def run_check(session: Session, *, now: datetime.datetime | None = None) -> Report:
    """Ask registries and the daemon whether the lock still holds.

    Raises:
        ImageError: The lock holds no engine.
    """
    engine, entries = read_pins(session)
    client = connect_if_there(session)
    witness = PinWitness(
        RegistryDesk(session.config, session.report).fetch_digest,
        lambda name: read_image(client, name) if client is not None else None,
        session.config.images.mirror,
        load_facts(session.paths.facts).image_ids,
        now or datetime.datetime.now(datetime.UTC),
        Archive(session.config.images.archive_dir).find,
    )
    began = time.monotonic()
    findings = [finding for device, entry in sorted(entries.items()) for finding in check_entry(device, entry, witness)]
    seconds = time.monotonic() - began
    return Report(findings, commit=engine.commit, commit_level=engine.commit_level, seconds=seconds)


def check_entry(device: str, entry: LockedImage, witness: PinWitness) -> list[Finding]:
    """Judge one pinned image: is it here, is it served, does its tag still point at it, how long will it be."""
    here = _find_here(entry, witness)
    if entry.source == "packages":
        said = f"{entry.reference} is here" if here else f"{entry.reference} is not here; `stack up` builds it"
        return [_build(f"here-{device}", Outcome("pass" if here else "warn", said))]
    archived = _check_archive(entry, witness)
    found = {
        "here": Outcome("pass", "the image is here") if here else Outcome("skip", "the image is not here"),
        "archive": archived,
        "reachable": _check_digest(entry, witness, here, archived.status == "pass"),
        "tag": _check_tag(entry, witness),
        "expiry": _check_expiry(entry, witness.now, archived.status == "pass"),
    }
    return [_build(f"{name}-{device}", outcome) for name, outcome in found.items()]


def _find_here(entry: LockedImage, witness: PinWitness) -> bool:
    reference = parse_reference(entry.reference)
    if entry.digest is None:
        return witness.find_image(entry.reference) is not None
    for place in (reference, apply_mirror(reference, witness.mirror)):
        name = f"{place.name}@{entry.digest}"
        if any(witness.find_image(known) is not None for known in (name, witness.image_ids.get(name)) if known):
            return True
    return False


def _check_archive(entry: LockedImage, witness: PinWitness) -> Outcome:
    try:
        image = witness.find_archived(entry.digest or "")
    except ImageError as err:
        return Outcome("warn", err.message, err.hint)
    if image is not None:
        return Outcome("pass", f"the archive has it ({image.total_bytes / 1e9:.2f} GB)")
    # What upstream deletes is gone for good, what it keeps can be had again.
    status: Literal["warn", "skip"] = "skip" if find_kept_nights(entry) is None else "warn"
    return Outcome(status, "the archive does not have it", "`stack pin --archive` keeps it on this machine")


def _check_digest(entry: LockedImage, witness: PinWitness, here: bool, archived: bool) -> Outcome:
    asked = apply_mirror(parse_reference(entry.reference), witness.mirror)
    try:
        witness.fetch_digest(asked.with_tag(None).with_digest(entry.digest))
    except MissingImageError:
        said = f"{asked.registry} does not have {entry.digest} any more"
        if archived:
            return Outcome("warn", f"{said}; the archive has it")
        if here:
            return Outcome("warn", f"{said}; the image is still here", "keep it: `docker save` it, or mirror it")
        return Outcome("fail", said, f"name a mirror in `images.mirror`; {_AGAIN}")
    except ImageError as err:
        return Outcome("warn" if here or archived else "fail", err.message, err.hint)
    return Outcome("pass", f"{asked.registry} serves {entry.digest}")


def _check_tag(entry: LockedImage, witness: PinWitness) -> Outcome:
    asked = apply_mirror(parse_reference(entry.reference), witness.mirror)
    if not asked.tag:
        return Outcome("skip", "it was pinned by its digest alone")
    try:
        digest = witness.fetch_digest(asked)
    except MissingImageError:
        return Outcome(
            "warn",
            f"the tag {asked.tag} is gone from {asked.registry}",
            "the digest may go next: `stack pin --archive` keeps it",
        )
    except ImageError as err:
        return Outcome("skip", err.message, err.hint)
    if digest != entry.digest:
        return Outcome(
            "warn", f"the tag {asked.tag} was moved to {digest}", "the lock holds the digest: nothing changes"
        )
    return Outcome("pass", f"the tag {asked.tag} points at it")


def _check_expiry(entry: LockedImage, now: datetime.datetime, archived: bool) -> Outcome:
    said = describe_expiry(entry, now)
    if said is None:
        return Outcome("pass" if find_kept_nights(entry) is None else "skip", "no date of deletion is known")
    left = (find_kept_nights(entry) or 0) - (read_age_days(entry, now) or 0)
    if archived or left > _SOON_DAYS:
        return Outcome("pass", said)
    return Outcome("warn", said, "`stack pin --archive` keeps it on this machine")


def _build(name: str, outcome: Outcome) -> Finding:
    return Finding(name, outcome.status, outcome.message, 0.0, outcome.hint)
