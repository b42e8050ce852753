"""What configuration, pin and lock ask for as each service's image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stack.config.lock import Lock
from stack.config.schema import StackConfig
from stack.images.recipe import ImageRecipe
from stack.images.reference import apply_mirror
from stack.images.references import Device, PublishedImage, WantedImage
from stack.images.registry import is_registry_reachable
from stack.images.source import SourceChoice, choose_source, probe_registries
from stack.operations.images.locked_build import use_locked_build
from stack.operations.images.needs import ImageNeed, resolve_image_id, resolve_packages_need, resolve_registry_need
from stack.operations.images.pinned_engine import open_http, read_wheel
from stack.operations.images.wanted import (
    LockedImage,
    build_wanted,
    find_commit_release,
    is_image_id,
    list_services,
    read_overrides,
)
from stack.operations.offline import choose_source_here
from stack.operations.pin.lock import find_pin, use_pin

FindImage = Callable[[str], Mapping[str, Any] | None]


class AskedImages:
    """What is asked for, service by service; only `choose_source` asks anybody but the daemon.

    Args:
        config: The configuration.
        device: What the engine computes on.
        lock: The lock as it is.
        locked: What it says of each service's image.
        published: The shipped table of images.
        image_ids: The image ID behind each reference when it was accepted.
        find_image: Gives the daemon's inspect document of a name, or None.

    Attributes:
        config: The configuration, as the pin completes it.
        services: The services that are asked for.
        pinned: What the lock has of a pinned engine, or None.
        wanted: The published image of each service; what is found of the engine replaces its own.
        built_engine: The engine image that an earlier `up` built here, as the daemon describes it, or None.
    """

    def __init__(
        self,
        config: StackConfig,
        device: Device,
        lock: Lock,
        locked: Mapping[str, LockedImage],
        published: Mapping[str, PublishedImage],
        image_ids: Mapping[str, str],
        find_image: FindImage,
    ) -> None:
        is_pinned = find_pin(config, lock) is not None
        self.config = use_pin(config, lock)
        self.services = list_services(self.config, device)
        self._device, self._lock, self._published = device, lock, published
        self._image_ids, self._find_image = image_ids, find_image
        self._locked = locked
        self._overrides = read_overrides(self.config)
        engine = locked.get("engine")
        # A pin names the engine's image as the configuration may name others.
        self.pinned = engine if is_pinned else None
        self.wanted = build_wanted(self.config, self.services, device, published, engine, is_pinned=is_pinned)
        self.built_engine = _find_locked(engine, find_image)

    @property
    def unnamed(self) -> list[str]:
        """The services whose images nobody names."""
        named = {name for name, text in self._overrides.items() if text} | ({"engine"} if self.pinned else set())
        return [name for name in self.services if name not in named]

    def choose_source(self) -> SourceChoice:
        """Choose where images come from that nobody names."""
        wanted = {name: self.wanted[name] for name in self.unnamed}
        return _choose_source(self.config, self._device, self._locked, wanted, self._find_image, self._image_ids)

    def list_pinned_builds(self) -> list[str]:
        """Give the engine where it was pinned as an image that is built here."""
        return ["engine"] if self.pinned is not None and self.pinned.source == "packages" else []

    def lacks_wheel(self) -> bool:
        """Tell whether only upstream could say from which wheel the commit is built, and may not be asked."""
        commit = self.config.engine.commit
        if not self.config.offline or commit is None or find_commit_release(commit, self._published) is not None:
            return False
        return read_wheel(self.built_engine, commit) is None

    def resolve_need(self, service: str, recipe: ImageRecipe | None) -> ImageNeed:
        """Say what a service's image needs; with a recipe it is built."""
        override = self._overrides.get(service) or ""
        if is_image_id(override):
            return resolve_image_id(service, override, self._find_image, is_required=not self.config.offline)
        if recipe is not None:
            locked_recipe = use_locked_build(recipe, self._lock, self._device)
            return resolve_packages_need(service, locked_recipe, self._find_image)
        return resolve_registry_need(
            service,
            self.wanted[service],
            self._find_image,
            self._locked.get(service),
            self._image_ids,
            self.config.images.mirror,
        )


def _find_locked(locked: LockedImage | None, find_image: FindImage) -> Mapping[str, Any] | None:
    """Give the engine image that an earlier `up` built here."""
    if locked is None or locked.source != "packages":
        return None
    return find_image(str(locked.reference))


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
