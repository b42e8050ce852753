"""Which image each service runs, and where it comes from: by configuration and lock, then by asking."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from stack.config.lock import Lock
from stack.config.schema import ImagesConfig, StackConfig
from stack.errors import ImageError
from stack.images.reference import apply_mirror, parse_reference
from stack.images.references import Device, PublishedImage, WantedImage
from stack.images.registry import is_registry_reachable
from stack.images.source import SourceChoice, choose_source, probe_registries
from stack.images.wheels import CommitWheel
from stack.operations.locked_build import find_locked_wheel, use_locked_build
from stack.operations.needs import (
    ImageNeed,
    build_unknown_need,
    resolve_image_id,
    resolve_packages_need,
    resolve_registry_need,
)
from stack.operations.offline import choose_source_here
from stack.operations.pin_lock import find_pin, use_pin
from stack.operations.pinned_engine import (
    NoCommitImageError,
    find_commit_image,
    find_commit_wheel,
    open_http,
    read_wheel,
)
from stack.operations.wanted_images import (
    LockedImage,
    build_recipes,
    build_wanted,
    find_commit_release,
    is_image_id,
    is_open,
    list_services,
    read_overrides,
)

FindImage = Callable[[str], Mapping[str, Any] | None]
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
    is_pinned = find_pin(config, lock) is not None
    config = use_pin(config, lock)
    services = list_services(config, device)
    locked = read_locked(lock, services, device)
    overrides = read_overrides(config)
    # A pin names the engine's image as the configuration may name others.
    pinned = locked.get("engine") if is_pinned else None
    _check_pin_source(pinned, config.images)
    unnamed = [name for name in services if not overrides.get(name) and not (name == "engine" and pinned)]
    wanted = build_wanted(config, services, device, published, locked.get("engine"), is_pinned=is_pinned)
    here = _find_locked(locked.get("engine"), find_image)
    unnamed_wanted = {name: wanted[name] for name in unnamed}
    source = _choose_source(config, device, locked, unnamed_wanted, find_image, image_ids)
    built: list[str] = unnamed if source.source == "packages" else []
    if pinned is not None and pinned.source == "packages":
        built = [*built, "engine"]
    if "engine" not in built and is_open(config, wanted["engine"]):
        found = _pin_engine(config, device, here, find_pinned)
        if isinstance(found, WantedImage):
            wanted["engine"] = found
        elif found is not None:
            built = [*built, "engine"]
            source = replace(source, reason=f"{source.reason}; {found}")
    needs: dict[str, ImageNeed] = {}
    wheel = find_locked_wheel(lock, config.engine.commit, device)
    if "engine" in built and wheel is None and _lacks_wheel(config, published, here):
        needs["engine"] = build_unknown_need("engine", str(config.engine.commit))
        built = [name for name in built if name != "engine"]
    recipes, left_out = build_recipes(
        config, built, device, published, lambda commit: wheel or find_wheel(commit, device, config, here)
    )
    for service in services:
        override = overrides.get(service) or ""
        if service in needs:
            continue
        if is_image_id(override):
            needs[service] = resolve_image_id(service, override, find_image, is_required=not config.offline)
        elif service in recipes:
            recipe = use_locked_build(recipes[service], lock, device)
            needs[service] = resolve_packages_need(service, recipe, find_image)
        elif service not in left_out:
            needs[service] = resolve_registry_need(
                service, wanted[service], find_image, locked.get(service), image_ids, config.images.mirror
            )
    return ResolvedImages(source, needs, left_out)


def _pin_engine(
    config: StackConfig, device: Device, here: Mapping[str, Any] | None, find_pinned: FindCommitImage
) -> WantedImage | str | None:
    """Give the image of the pinned commit, or why the engine is built from its wheel; None where nobody tells."""
    commit = str(config.engine.commit)
    is_auto = config.images.source == "auto"
    if is_auto and read_wheel(here, commit) is not None:
        return "the engine was built from upstream's wheel by an earlier `up`"
    if config.offline:
        return None
    try:
        return find_pinned(commit, device, config)
    except NoCommitImageError:
        # Only `auto` chooses, and only what will not be refused for being a claim.
        if not is_auto or config.engine.accept != "claimed":
            raise
        return f"the engine is built from upstream's wheel, because no registry has an image of {commit}"


def _check_pin_source(pinned: LockedImage | None, config: ImagesConfig) -> None:
    if pinned is not None and config.source == "packages" and pinned.source == "registry":
        raise ImageError(
            f'stack.lock pins {pinned.reference}, and `images.source = "packages"` builds every image',
            hint="leave out `images.source`, or delete the engine's entries in stack.lock",
        )


def _find_locked(locked: LockedImage | None, find_image: FindImage) -> Mapping[str, Any] | None:
    """Give the engine image that an earlier `up` built here."""
    if locked is None or locked.source != "packages":
        return None
    return find_image(str(locked.reference))


def _lacks_wheel(config: StackConfig, published: Mapping[str, PublishedImage], here: Mapping[str, Any] | None) -> bool:
    """Tell whether only upstream could say from which wheel the pinned commit is built, and may not be asked."""
    commit = config.engine.commit
    if not config.offline or commit is None or find_commit_release(commit, published) is not None:
        return False
    return read_wheel(here, commit) is None


def _choose_source(
    config: StackConfig,
    device: Device,
    locked: Mapping[str, LockedImage],
    wanted: Mapping[str, WantedImage],
    find_image: FindImage,
    image_ids: Mapping[str, str],
) -> SourceChoice:
    """Choose where images come from that the configuration does not name."""
    images = config.images
    if images.source != "auto":
        return choose_source(images.source, {})
    # The engine last: of a pinned commit it may be built while everything else is pulled.
    order = sorted(wanted, key=lambda service: service == "engine")
    first = next((locked[service] for service in order if service in locked), None)
    if first is not None:
        return SourceChoice(first.source, "as stack.lock has it from an earlier `up`")
    if config.offline:
        return choose_source_here(config, device, wanted, find_image, image_ids)
    hosts = [apply_mirror(image.reference, images.mirror).registry for image in wanted.values()]
    timeout = images.timeout_seconds
    with open_http(config) as http:
        answers = probe_registries(
            hosts, lambda host: is_registry_reachable(host, timeout, client=http), timeout_seconds=timeout
        )
    return choose_source("auto", answers)
