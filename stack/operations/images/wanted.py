"""Which image or recipe each service is to run, as configuration, lock and shipped tables name it. Pure."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from stack.config.schema import ImagesConfig, StackConfig
from stack.images.recipe import (
    BaseRecipe,
    ImageRecipe,
    build_base_recipe,
    build_engine_recipe,
    build_service_recipe,
    is_buildable,
    load_packages,
)
from stack.images.reference import ImageReference, parse_reference
from stack.images.references import (
    Device,
    PublishedImage,
    WantedImage,
    build_reference,
)
from stack.images.sources import Variant, build_places, load_sources

if TYPE_CHECKING:
    from stack.images.wheels import CommitWheel


@dataclass(frozen=True)
class LockedImage:
    """What stack.lock says of a service's image on a device."""

    reference: ImageReference
    source: Literal["registry", "packages"]


def list_services(config: StackConfig, device: str) -> list[str]:
    """List the services that the configuration asks for."""
    services = config.services
    wanted = {
        "engine": True,
        "prometheus": services.prometheus.enabled,
        "alertmanager": services.alertmanager.enabled and services.prometheus.enabled,
        "grafana": services.grafana.enabled,
        "node-exporter": services.node_exporter.enabled,
        "dcgm-exporter": services.dcgm_exporter.enabled and device == "cuda",
        "gateway": services.gateway.expose,
    }
    return [name for name, is_wanted in wanted.items() if is_wanted]


def read_overrides(config: StackConfig) -> dict[str, str | None]:
    """Give the images that the configuration names, by service."""
    services = config.services
    return {
        "engine": config.engine.image,
        "prometheus": services.prometheus.image,
        "alertmanager": services.alertmanager.image,
        "grafana": services.grafana.image,
        "node-exporter": services.node_exporter.image,
        "dcgm-exporter": services.dcgm_exporter.image,
        "gateway": services.gateway.image,
    }


def build_recipes(
    config: StackConfig,
    services: list[str],
    device: str,
    published: Mapping[str, PublishedImage],
    find_wheel: Callable[[str], CommitWheel],
) -> tuple[dict[str, ImageRecipe], dict[str, str]]:
    """Give the recipe of each service that packages can build, and the reason for each that they cannot.

    Args:
        config: The configuration.
        services: The services whose images the configuration does not name.
        device: What the engine computes on.
        published: The shipped table of images.
        find_wheel: Gives upstream's wheel of a commit; asked where the commit is no known release.
    """
    base = build_base_recipe(config.images.debian_suite, config.images.debian_mirror)
    recipes: dict[str, ImageRecipe] = {}
    left_out: dict[str, str] = {}
    for service in services:
        if service == "engine":
            recipes[service] = _build_engine_recipe(config, device, base, published, find_wheel)
        elif is_buildable(service):
            recipes[service] = build_service_recipe(service, base)
        else:
            left_out[service] = "its image comes from a container registry only, and none is used"
    return recipes, left_out


def build_wanted(
    config: StackConfig,
    services: list[str],
    device: Device,
    published: Mapping[str, PublishedImage],
    locked_engine: LockedImage | None = None,
    *,
    is_pinned: bool = False,
) -> dict[str, WantedImage]:
    """Give the published image of each service, as the configuration, the lock and the shipped table name it.

    The engine of a pinned commit that is no known release gets the first place where upstream may have it,
    without a digest: only its registry can tell (`is_open`). A pin is what the lock has (`is_pinned`).
    """
    overrides = {name: text for name, text in read_overrides(config).items() if text and not is_image_id(text)}
    wanted = {service: build_reference(service, device, overrides, published) for service in services}
    engine = wanted["engine"]
    if engine.published is None:
        return wanted
    if is_pinned and locked_engine is not None and locked_engine.source == "registry":
        entry = engine.published if engine.published.digest == locked_engine.reference.digest else None
        wanted["engine"] = WantedImage("engine", locked_engine.reference, entry)
        return wanted
    version, commit = config.engine.version, config.engine.commit
    if version is not None and version != engine.published.version:
        reference = parse_reference(f"{engine.published.repository}:v{version}")
        wanted["engine"] = WantedImage("engine", reference, None)
    if commit is not None and commit != engine.published.commit:
        # `images.sources` may take every place out: then nobody is asked, and upstream's name stands for it.
        nameless = engine.reference.with_tag(None).with_digest(None)
        places = list_commit_places(config.images, commit, device) or [nameless]
        locked = locked_engine.reference if locked_engine is not None else places[0]
        reference = locked if locked.with_digest(None) in places else places[0]
        wanted["engine"] = WantedImage("engine", reference, None)
    return wanted


def list_commit_places(config: ImagesConfig, commit: str, device: Device) -> list[ImageReference]:
    """List where an engine image of a commit may be, best first; what comes with a warning is for `stack pin` alone."""
    table = load_sources(config.sources)
    places = build_places(table, Variant(device, arch=platform.machine()), commit=commit)
    return [place.reference for place in places if place.source.warning is None]


def is_open(config: StackConfig, engine: WantedImage) -> bool:
    """Tell whether only a registry can say which image is of the pinned commit."""
    if config.engine.commit is None or config.engine.image is not None:
        return False
    return engine.published is None and engine.reference.digest is None


def is_image_id(text: str) -> bool:
    """Tell whether a configured image is named by its local ID."""
    return text.startswith("sha256:")


def find_release_commit(version: str, published: Mapping[str, PublishedImage]) -> str | None:
    """Give the commit of a release, where the shipped table knows it."""
    entries = (entry for name, entry in published.items() if name.startswith("engine."))
    return next((entry.commit for entry in entries if entry.version == version and entry.commit), None)


def find_commit_release(commit: str, published: Mapping[str, PublishedImage]) -> str | None:
    """Give the release that a commit is, where the shipped table knows it."""
    entries = (entry for name, entry in published.items() if name.startswith("engine."))
    return next((entry.version for entry in entries if entry.commit == commit), None)


def _build_engine_recipe(
    config: StackConfig,
    device: str,
    base: BaseRecipe,
    published: Mapping[str, PublishedImage],
    find_wheel: Callable[[str], CommitWheel],
) -> ImageRecipe:
    version = config.engine.version or load_packages()["engine"][device]["version"]
    commit = config.engine.commit
    if commit is not None:
        release = find_commit_release(commit, published)
        if release is None:
            wheel = find_wheel(commit)
            return build_engine_recipe(device, base, version=wheel.version, commit=commit, wheel=wheel.url)
        version = release
    return build_engine_recipe(device, base, version=version, commit=find_release_commit(version, published))
