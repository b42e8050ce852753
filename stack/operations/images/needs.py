"""What must be done to have each service's image here, and why. Pure but for asking the daemon."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from stack.errors import ImageError
from stack.images.archive_layout import ArchivedImage
from stack.images.build_record import PACKAGES_LABEL
from stack.images.recipe import ImageRecipe
from stack.images.reference import ImageReference, apply_mirror
from stack.images.references import WantedImage
from stack.operations.images.wanted import LockedImage

Action = Literal["none", "pull", "build", "load"]


@dataclass(frozen=True)
class ImageNeed:
    """What one service's image needs.

    Attributes:
        service: The Compose service.
        action: What must be done.
        name: What Compose is told; for a pull without a known digest it becomes exact once the digest is
            known.
        cause: Why that must be done, or why nothing must.
        source: `registry` or `packages`.
        wanted: What is pulled, or None.
        recipe: What is built, or None.
        image_id: The image ID, where it is here already.
        is_locked: Whether stack.lock gave the digest; it then holds even where upstream moved the tag.
        archived: What is loaded from the archive, or None.
        is_kept: Whether a pull goes by way of the archive, so that one download fills both.
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
    archived: ArchivedImage | None = None
    is_kept: bool = False


def resolve_registry_need(
    service: str,
    wanted: WantedImage,
    find_image: Callable[[str], Mapping[str, Any] | None],
    locked: LockedImage | None,
    remembered_ids: Mapping[str, str],
    mirror: Mapping[str, str] | None = None,
) -> ImageNeed:
    """Say what a published image needs.

    Args:
        service: The Compose service.
        wanted: What it runs.
        find_image: Gives the daemon's inspect document of a name, or None.
        locked: What the lock says, or None.
        remembered_ids: The image ID behind each reference when it was accepted.
        mirror: `images.mirror`.
    """
    reference = wanted.reference
    is_locked = locked is not None and locked.source == "registry" and _names_same(locked.reference, reference)
    if locked is not None and is_locked:
        reference = locked.reference
        wanted = WantedImage(service, reference, wanted.published)
    found = _find_exact(reference, mirror or {}, find_image, remembered_ids)
    if found is not None:
        name, image_id, cause = found
        return ImageNeed(service, "none", name, cause, "registry", wanted, image_id=image_id)
    if reference.digest is not None:
        exact, cause = f"{reference.name}@{reference.digest}", "it is not here by its digest"
        return ImageNeed(service, "pull", exact, cause, "registry", wanted, is_locked=is_locked)
    here = find_image(str(reference))
    if here is not None and (not here.get("RepoDigests") or reference.registry == "localhost"):
        # Never pushed and never pulled: it was built or loaded on this machine under that name. (Containerd's store
        # gives a digest to those too; no registry answers for `localhost`.)
        cause = "it was made on this machine under that name"
        return ImageNeed(service, "none", here["Id"], cause, "registry", wanted, image_id=here["Id"])
    return ImageNeed(service, "pull", str(reference), "its digest is not known yet", "registry", wanted)


def _find_exact(
    reference: ImageReference,
    mirror: Mapping[str, str],
    find_image: Callable[[str], Mapping[str, Any] | None],
    remembered_ids: Mapping[str, str],
) -> tuple[str, str, str] | None:
    """Find the image of a digest that is here: its name, its ID, and how it was recognised."""
    if reference.digest is None:
        return None
    # A mirror's copy goes by the mirror's name.
    places = dict.fromkeys((reference.name, apply_mirror(reference, mirror).name))
    names = [f"{place}@{reference.digest}" for place in places]
    for name in names:
        here = find_image(name)
        if here is not None:
            return name, here["Id"], "it is here by its digest"
    for image_id in (remembered_ids[name] for name in names if name in remembered_ids):
        # `docker load` on the classic store loses the digest; the ID that we saw it under does not change.
        if find_image(image_id) is not None:
            return image_id, image_id, "it is here by its recorded ID"
    return None


def resolve_image_id(
    service: str,
    image_id: str,
    find_image: Callable[[str], Mapping[str, Any] | None],
    *,
    is_required: bool = True,
) -> ImageNeed:
    """Say what an image named by its ID needs: it is here, or it cannot be had.

    Args:
        service: The Compose service.
        image_id: The ID.
        find_image: Gives the daemon's inspect document of a name, or None.
        is_required: Whether one that is not here is refused now; else its need says so, beside those of others.

    Raises:
        ImageError: It is not here.
    """
    if find_image(image_id) is None and not is_required:
        cause = "it is not here, and an ID says nothing of where to get it"
        return ImageNeed(service, "pull", image_id, cause, "registry")
    if find_image(image_id) is None:
        raise ImageError(
            f"the image {image_id} for `{service}` is not here, and an ID says nothing of where to get it",
            hint="bring it with `docker load`, or name it by repository and digest",
        )
    return ImageNeed(service, "none", image_id, "it is here", "registry", image_id=image_id)


def resolve_packages_need(
    service: str, recipe: ImageRecipe, find_image: Callable[[str], Mapping[str, Any] | None]
) -> ImageNeed:
    """Say what an image built from packages needs; packages that are locked must be in it, or it is another image."""
    cause, name = "no image of that recipe is here", recipe.tag
    for tag in dict.fromkeys((recipe.tag, recipe.locked_tag)):
        here = find_image(tag)
        if here is None:
            continue
        if recipe.locked is None or _read_packages(here) == recipe.locked.hash():
            said = "it is here under the tag of its recipe"
            return ImageNeed(service, "none", tag, said, "packages", recipe=recipe, image_id=here["Id"])
        cause, name = "the image of that recipe that is here has other packages than stack.lock", recipe.locked_tag
    return ImageNeed(service, "build", name, cause, "packages", recipe=recipe)


def _read_packages(image: Mapping[str, Any]) -> str | None:
    labels = (image.get("Config") or {}).get("Labels") or {}
    return labels.get(PACKAGES_LABEL)


def build_unknown_need(service: str, commit: str) -> ImageNeed:
    """Say that an image is built from the wheel of a commit, and that nothing here tells which wheel that is."""
    cause = "no image that was built from its wheel is here"
    return ImageNeed(service, "build", f"vLLM {commit}, built from upstream's wheel", cause, "packages")


def _names_same(locked: ImageReference, wanted: ImageReference) -> bool:
    if locked.name != wanted.name:
        return False
    return locked.digest == wanted.digest if wanted.digest else locked.tag == wanted.tag
