"""What a pin comes to, the sources that were asked for it, and who can be asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from stack.images.identity import Identity
from stack.images.manifests import ImageConfig, RemoteImage
from stack.images.recipe import ImageRecipe
from stack.images.reference import ImageReference
from stack.images.sources import ImageSource
from stack.operations.pin.target import PinTarget

Outcome = Literal["found", "missing", "failed", "skipped"]

LOCAL = ImageSource("local", "already local", {})
NAMED = ImageSource("named", "what was named", {})
WHEEL = ImageSource("wheel", "upstream's wheel of the commit, built here", {})
RELEASE = ImageSource("packages", "the release from a package index, built here", {})


@dataclass(frozen=True)
class Step:
    """One source that was asked.

    Attributes:
        source: Its name.
        title: What it is called in reports.
        reference: What it was asked for, as upstream calls it; None where no reference was.
        outcome: How it ended.
        said: What was found, or why nothing was.
    """

    source: str
    title: str
    reference: str | None
    outcome: Outcome
    said: str

    def __str__(self) -> str:
        where = f" ({self.reference})" if self.reference else ""
        return f"{self.title}{where}: {self.said}"


@dataclass(frozen=True)
class PinnedImage:
    """What was found.

    Attributes:
        source: Where.
        reference: What it is called upstream, without its digest; for a build, the tag of its recipe.
        digest: What is pinned; None for what is built here.
        identity: Which vLLM it is.
        config: What it says of itself.
        size_bytes: What a pull moves; None where nothing has to be pulled.
        served_by: Who was asked, in a mirror's words where one was; None for what is here or is built.
    """

    source: ImageSource
    reference: ImageReference
    digest: str | None
    identity: Identity
    config: ImageConfig = field(default_factory=ImageConfig)
    size_bytes: int | None = None
    served_by: ImageReference | None = None


@dataclass(frozen=True)
class PinWorld:
    """Who can be asked.

    Attributes:
        fetch_image: Describes the image of a reference, or raises ImageError.
        fetch_digest: Gives the digest of a reference, or raises ImageError.
        find_local: Gives the inspect documents of the images here that say they are of a commit, or have a digest.
        find_recipe: Gives the recipe that builds a commit from upstream's wheel, or a release, or raises ImageError.
        tell: Takes each step as it ends.
    """

    fetch_image: Callable[[ImageReference], RemoteImage]
    fetch_digest: Callable[[ImageReference], str]
    find_local: Callable[[PinTarget], Iterable[Mapping[str, Any]]]
    find_recipe: Callable[[PinTarget], ImageRecipe]
    tell: Callable[[Step], None]
