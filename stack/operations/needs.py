"""What must be done to have each service's image here, and why. Pure but for asking the daemon."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from stack.errors import ImageError
from stack.images.recipe import ImageRecipe
from stack.images.reference import ImageReference
from stack.images.references import WantedImage
from stack.operations.wanted_images import LockedImage

Action = Literal["none", "pull", "build"]


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


def _names_same(locked: ImageReference, wanted: ImageReference) -> bool:
    if locked.name != wanted.name:
        return False
    return locked.digest == wanted.digest if wanted.digest else locked.tag == wanted.tag
