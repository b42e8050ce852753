"""Which image each service runs, and where it comes from: by configuration and lock, then by asking."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from stack.config.lock import Lock
from stack.config.schema import ImagesConfig, StackConfig
from stack.errors import ImageError
from stack.images.reference import parse_reference
from stack.images.references import Device, PublishedImage, WantedImage
from stack.images.source import SourceChoice
from stack.images.wheels import CommitWheel
from stack.operations.images.asked import AskedImages, FindImage
from stack.operations.images.locked_build import find_locked_wheel
from stack.operations.images.needs import (
    ImageNeed,
    build_unknown_need,
)
from stack.operations.images.pinned_engine import (
    NoCommitImageError,
    find_commit_image,
    find_commit_wheel,
    read_wheel,
)
from stack.operations.images.wanted import (
    LockedImage,
    build_recipes,
    is_open,
    list_services,
)

FindCommitImage = Callable[[str, Device, StackConfig], WantedImage]
FindCommitWheel = Callable[[str, Device, StackConfig, Mapping[str, Any] | None], CommitWheel]


@dataclass(frozen=True)
class ResolvedImages:
    """What the services' images need.

    Attributes:
        source: Where images come from that the configuration does not name.
        needs: What each service's image needs.
        left_out: Services whose images cannot be had from there, with the reason.
    """

    source: SourceChoice
    needs: dict[str, ImageNeed]
    left_out: dict[str, str]


def build_lock_key(service: str, device: str) -> str:
    """Give the lock's key of a service's image: the engine has one for each device."""
    return f"engine/{device}" if service == "engine" else service


def read_locked(lock: Lock, services: list[str], device: str) -> dict[str, LockedImage]:
    """Give what the lock says of each service's image, with its digest where it has one."""
    found = {}
    for service in services:
        entry = lock.images.get(build_lock_key(service, device))
        if entry is not None:
            reference = parse_reference(entry.reference)
            found[service] = LockedImage(
                reference.with_digest(entry.digest) if entry.digest else reference, entry.source
            )
    return found


def resolve_images(
    config: StackConfig,
    device: Device,
    lock: Lock,
    published: Mapping[str, PublishedImage],
    image_ids: Mapping[str, str],
    find_image: FindImage,
    *,
    find_pinned: FindCommitImage = find_commit_image,
    find_wheel: FindCommitWheel = find_commit_wheel,
) -> ResolvedImages:
    """Say what every service's image needs; asks the network only where nothing here tells.

    Args:
        config: The configuration.
        device: What the engine computes on; never `auto` any more.
        lock: The lock as it is.
        published: The shipped table of images.
        image_ids: The image ID behind each reference when it was accepted.
        find_image: Gives the daemon's inspect document of a name, or None.
        find_pinned: Asks registries for the engine image of a commit.
        find_wheel: Asks upstream for the wheel of a commit.

    Raises:
        ImageError: What was asked for cannot be had.
    """
    locked = read_locked(lock, list_services(config, device), device)
    asked = AskedImages(config, device, lock, locked, published, image_ids, find_image)
    _check_pin_source(asked.pinned, config.images)
    source, built = asked.choose_source(), asked.list_pinned_builds()
    if source.source == "packages":
        built = [*asked.unnamed, *built]
    if "engine" not in built and is_open(asked.config, asked.wanted["engine"]):
        reason = _settle_engine(asked, device, find_pinned)
        if reason is not None:
            source, built = replace(source, reason=f"{source.reason}; {reason}"), [*built, "engine"]
    wheel = find_locked_wheel(lock, asked.config.engine.commit, device)
    needs: dict[str, ImageNeed] = {}
    if "engine" in built and wheel is None and asked.lacks_wheel():
        needs["engine"] = build_unknown_need("engine", str(asked.config.engine.commit))
    recipes, left_out = build_recipes(
        asked.config,
        [name for name in built if name not in needs],
        device,
        published,
        lambda commit: wheel or find_wheel(commit, device, asked.config, asked.built_engine),
    )
    others = [name for name in asked.services if name not in left_out and name not in needs]
    needs |= {name: asked.resolve_need(name, recipes.get(name)) for name in others}
    return ResolvedImages(source, needs, left_out)


def _settle_engine(asked: AskedImages, device: Device, find_pinned: FindCommitImage) -> str | None:
    """Find the image of the pinned commit, or say why the engine is built from upstream's wheel instead."""
    config, commit = asked.config, str(asked.config.engine.commit)
    is_auto = config.images.source == "auto"
    if is_auto and read_wheel(asked.built_engine, commit) is not None:
        return "the engine was built from upstream's wheel by an earlier `up`"
    if config.offline:
        return None
    try:
        asked.wanted["engine"] = find_pinned(commit, device, config)
    except NoCommitImageError:
        # Only `auto` chooses, and only what will not be refused for being a claim.
        if not is_auto or config.engine.accept != "claimed":
            raise
        return f"the engine is built from upstream's wheel, because no registry has an image of {commit}"
    return None


def _check_pin_source(pinned: LockedImage | None, config: ImagesConfig) -> None:
    if pinned is not None and config.source == "packages" and pinned.source == "registry":
        raise ImageError(
            f'stack.lock pins {pinned.reference}, and `images.source = "packages"` builds every image',
            hint="leave out `images.source`, or delete the engine's entries in stack.lock",
        )
