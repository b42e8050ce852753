"""Which image each service is to run, where it comes from, and what must be done to have it here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from stack.config.schema import StackConfig
from stack.errors import ImageError
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
from stack.images.references import PublishedImage, WantedImage, build_reference

Action = Literal["none", "pull", "build"]


@dataclass(frozen=True)
class ImageNeed:
    """What one service's image needs.

    Attributes:
        service: The Compose service.
        action: What must be done.
        name: What Compose is told; for a pull without a known digest it becomes exact once the digest is known.
        cause: Why that must be done, or why nothing must.
        source: `registry` or `packages`.
        wanted: What is pulled, or None.
        recipe: What is built, or None.
        image_id: The image ID, where it is here already.
        is_locked: Whether stack.lock gave the digest; it then holds even where upstream moved the tag.
    """

    service: str
    action: Action
    name: str
    cause: str
    source: Literal["registry", "packages"]
    wanted: WantedImage | None = None
    recipe: ImageRecipe | None = None
    image_id: str | None = None
    is_locked: bool = False


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
        "grafana": services.grafana.image,
        "node-exporter": services.node_exporter.image,
        "dcgm-exporter": services.dcgm_exporter.image,
        "gateway": services.gateway.image,
    }


def resolve_registry_need(
    service: str,
    wanted: WantedImage,
    find_image: Callable[[str], Mapping[str, Any] | None],
    locked: LockedImage | None,
    remembered_ids: Mapping[str, str],
) -> ImageNeed:
    """Say what a published image needs.

    Args:
        service: The Compose service.
        wanted: What it runs.
        find_image: Gives the daemon's inspect document of a name, or None.
        locked: What the lock says, or None.
        remembered_ids: The image ID behind each reference when it was accepted.
    """
    reference = wanted.reference
    is_locked = (
        locked is not None and locked.source == "registry" and _names_same(locked.reference, reference)
    )
    if locked is not None and is_locked:
        reference = locked.reference
        wanted = WantedImage(service, reference, wanted.published)
    exact = f"{reference.name}@{reference.digest}" if reference.digest else str(reference)
    here = find_image(exact) if reference.digest else None
    if here is not None:
        return ImageNeed(
            service, "none", exact, "it is here by its digest", "registry", wanted, image_id=here["Id"]
        )
    if (
        reference.digest is None
        and (here := find_image(str(reference))) is not None
        and not here.get("RepoDigests")
    ):
        # Never pushed and never pulled: it was built or loaded on this machine under that name.
        cause = "it was made on this machine under that name"
        return ImageNeed(service, "none", here["Id"], cause, "registry", wanted, image_id=here["Id"])
    remembered = remembered_ids.get(exact) if reference.digest else None
    if remembered is not None and find_image(remembered) is not None:
        # `docker load` on the classic store loses the digest; the ID that we saw it under does not change.
        cause = "it is here by its recorded ID"
        return ImageNeed(service, "none", remembered, cause, "registry", wanted, image_id=remembered)
    cause = "it is not here by its digest" if reference.digest else "its digest is not known yet"
    return ImageNeed(service, "pull", exact, cause, "registry", wanted, is_locked=is_locked)


def resolve_image_id(
    service: str, image_id: str, find_image: Callable[[str], Mapping[str, Any] | None]
) -> ImageNeed:
    """Say what an image named by its ID needs: it is here, or it cannot be had.

    Raises:
        ImageError: It is not here.
    """
    if find_image(image_id) is None:
        raise ImageError(
            f"the image {image_id} for `{service}` is not here, and an ID says nothing of where to get it",
            hint="bring it with `docker load`, or name it by repository and digest",
        )
    return ImageNeed(service, "none", image_id, "it is here", "registry", image_id=image_id)


def resolve_packages_need(
    service: str, recipe: ImageRecipe, find_image: Callable[[str], Mapping[str, Any] | None]
) -> ImageNeed:
    """Say what an image built from packages needs."""
    here = find_image(recipe.tag)
    if here is not None:
        cause = "it is here under the tag of its recipe"
        return ImageNeed(service, "none", recipe.tag, cause, "packages", recipe=recipe, image_id=here["Id"])
    return ImageNeed(
        service, "build", recipe.tag, "no image of that recipe is here", "packages", recipe=recipe
    )


def build_recipes(
    config: StackConfig, services: list[str], device: str, published: Mapping[str, PublishedImage]
) -> tuple[dict[str, ImageRecipe], dict[str, str]]:
    """Give the recipe of each service that packages can build, and the reason for each that they cannot."""
    base = build_base_recipe(config.images.debian_suite, config.images.debian_mirror)
    recipes: dict[str, ImageRecipe] = {}
    left_out: dict[str, str] = {}
    for service in services:
        if service == "engine":
            recipes[service] = _build_engine_recipe(config, device, base, published)
        elif is_buildable(service):
            recipes[service] = build_service_recipe(service, base)
        else:
            left_out[service] = "its image comes from a container registry only, and none is used"
    return recipes, left_out


def build_wanted(
    config: StackConfig, services: list[str], device: str, published: Mapping[str, PublishedImage]
) -> dict[str, WantedImage]:
    """Give the published image of each service, as the configuration and the shipped table name it."""
    overrides = {
        name: text for name, text in read_overrides(config).items() if text and not is_image_id(text)
    }
    wanted = {service: build_reference(service, device, overrides, published) for service in services}
    engine = wanted.get("engine")
    version = config.engine.version
    if (
        engine is not None
        and engine.published is not None
        and version is not None
        and version != engine.published.version
    ):
        reference = parse_reference(f"{engine.published.repository}:v{version}")
        wanted["engine"] = WantedImage("engine", reference, None)
    return wanted


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
    config: StackConfig, device: str, base: BaseRecipe, published: Mapping[str, PublishedImage]
) -> ImageRecipe:
    version = config.engine.version or load_packages()["engine"][device]["version"]
    if config.engine.commit is not None:
        release = find_commit_release(config.engine.commit, published)
        if release is None:
            raise ImageError(
                f"commit {config.engine.commit} is no release that packages can be built from",
                hint="name the image that has it with `engine.image`, or give `engine.version` instead of a commit",
            )
        version = release
    return build_engine_recipe(device, base, version=version, commit=find_release_commit(version, published))


def _names_same(locked: ImageReference, wanted: ImageReference) -> bool:
    if locked.name != wanted.name:
        return False
    return locked.digest == wanted.digest if wanted.digest else locked.tag == wanted.tag
