"""What the archive means to `up`: its images are known by their IDs, and stand in where no registry has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from stack.config.lock import Lock, LockedImage
from stack.config.schema import ImagesConfig, StackConfig
from stack.errors import ImageError
from stack.images.archive_layout import ArchivedImage
from stack.images.archive_store import Archive
from stack.images.reference import ImageReference, apply_mirror, parse_reference
from stack.images.registry import Registry
from stack.images.registry_auth import read_docker_login
from stack.images.registry_errors import MissingImageError
from stack.operations.images.needs import ImageNeed
from stack.operations.images.pinned_engine import ask_references, open_http
from stack.operations.offline import OfflineError, demand_online
from stack.operations.pin.lock import find_kept_nights

# A registry that wants a token is asked three times.
_REQUESTS_PER_ANSWER = 3

FetchDigest = Callable[[ImageReference], str]


def read_archived(archive: Archive, say: Callable[[str], None]) -> dict[str, ArchivedImage]:
    """Give what the archive has, by digest; one that cannot be read is told, and is in nobody's way."""
    try:
        return archive.read_images()
    except ImageError as err:
        say(f"warning: {err.message}; {err.hint}")
        return {}


def find_archived_ids(archive: Archive, images: Mapping[str, ArchivedImage], lock: Lock) -> dict[str, str]:
    """Give the image ID behind each locked digest that the archive has: `docker load` keeps it, not the digest.

    Only what the manifest's own bytes say counts.
    """
    found = {}
    for entry in lock.images.values():
        image = images.get(entry.digest or "")
        if image is None:
            continue
        try:
            archive.read_manifest(image)
        except ImageError:
            continue
        found[f"{parse_reference(entry.reference).name}@{image.digest}"] = image.image_id
    return found


def use_archive(
    needs: Mapping[str, ImageNeed],
    images: Mapping[str, ArchivedImage],
    mirror: Mapping[str, str],
    fetch_digest: FetchDigest,
) -> dict[str, ImageNeed]:
    """Take from the archive what is neither here nor served by digest any more; asks only for what the archive has.

    Args:
        needs: What each service's image needs.
        images: What the archive has.
        mirror: `images.mirror`.
        fetch_digest: Asks a registry what a reference points at, or raises ImageError.
    """
    found = dict(needs)
    for service, need in needs.items():
        reference = need.wanted.reference if need.action == "pull" and need.wanted is not None else None
        image = images.get(reference.digest or "") if reference is not None else None
        if reference is None or image is None:
            continue
        asked = apply_mirror(reference, mirror).with_tag(None)
        try:
            fetch_digest(asked)
        except ImageError as err:
            cause = f"{need.cause}, and {_describe_failure(asked, err)}"
            found[service] = replace(need, action="load", cause=cause, archived=image)
    return found


def _describe_failure(asked: ImageReference, err: ImageError) -> str:
    if isinstance(err, OfflineError):
        return err.message
    missing = isinstance(err, MissingImageError)
    return f"{asked.registry} {'does not serve it any more' if missing else f'does not: {err.message}'}"


def find_keep_cause(config: ImagesConfig, digest: str | None, entry: LockedImage | None) -> str | None:
    """Say why the engine's image belongs in the archive, or None where nothing asks for that.

    Args:
        config: `images.archive` decides; unset it is what upstream deletes.
        digest: The image's, or None where it is built here or not known yet.
        entry: What the lock says of it.
    """
    if digest is None or config.archive is False:
        return None
    if config.archive:
        return "`images.archive` keeps it"
    if entry is not None and entry.digest == digest and find_kept_nights(entry) is not None:
        return f"upstream keeps the newest {find_kept_nights(entry)} nightlies only, so the archive keeps it"
    return None


def mark_kept(needs: Mapping[str, ImageNeed], config: ImagesConfig, entry: LockedImage | None) -> dict[str, ImageNeed]:
    """Have the engine's image pulled by way of the archive, where it belongs there: one download fills both.

    Args:
        needs: What each service's image needs.
        config: `images.archive` decides.
        entry: What the lock says of the engine's image.
    """
    found = dict(needs)
    engine = found.get("engine")
    if engine is None or engine.action != "pull" or engine.wanted is None:
        return found
    cause = find_keep_cause(config, engine.wanted.reference.digest, entry)
    if cause is not None:
        found["engine"] = replace(engine, cause=f"{engine.cause}, and {cause}", is_kept=True)
    return found


def ask_registry(config: StackConfig) -> FetchDigest:
    """Give a question to registries that ends in time, whatever does not answer."""
    images = config.images

    def ask(reference: ImageReference) -> str:
        with open_http(config) as http:
            retries = min(1, images.retries)
            registry = Registry(
                http, timeout_seconds=images.timeout_seconds, retries=retries, credentials=read_docker_login
            )
            return registry.fetch_digest(reference)

    def fetch_digest(reference: ImageReference) -> str:
        demand_online(config, reference.registry)
        limit = images.timeout_seconds * _REQUESTS_PER_ANSWER
        answer = ask_references([reference], ask, timeout_seconds=limit)[reference]
        if isinstance(answer, ImageError):
            raise answer
        return answer

    return fetch_digest
