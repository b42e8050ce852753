"""Which images a bundle is to hold: those of all services that run on this configuration, and where each is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import docker

from stack.bundles.problem import BundleError
from stack.containers.daemon import read_image
from stack.images.archive_layout import ArchivedImage
from stack.images.archive_store import Archive
from stack.images.reference import ImageReference
from stack.operations.images.needs import ImageNeed
from stack.operations.resolve import Resolved
from stack.operations.session import Session


@dataclass(frozen=True)
class WantedImage:
    """One image to be saved.

    Attributes:
        need: What the service needs, and has.
        attributes: The engine's inspect document; empty where only the archive has the image.
        archived: The image in the archive, with every blob, or None.
    """

    need: ImageNeed
    attributes: Mapping[str, Any]
    archived: ArchivedImage | None

    @property
    def reference(self) -> ImageReference | None:
        """What a registry calls it, with its digest; None where none has it."""
        reference = self.need.wanted.reference if self.need.wanted is not None else None
        return reference if reference is not None and reference.digest is not None else None

    @property
    def size_bytes(self) -> int:
        """About what it takes."""
        if self.archived is not None:
            return self.archived.total_bytes
        return int(self.attributes.get("Size") or 0)


def find_wanted(session: Session, client: docker.DockerClient, resolved: Resolved) -> list[WantedImage]:
    """Give the images of all services that run on this configuration.

    Raises:
        BundleError: One of them is not here.
    """
    archive = Archive(session.config.images.archive_dir)
    found, missing = [], []
    for service, need in resolved.needs.items():
        digest = need.wanted.reference.digest if need.wanted is not None else None
        archived = archive.find(digest) if digest in resolved.archived else None
        attributes = (read_image(client, need.name) if need.action == "none" else None) or {}
        if not attributes and archived is None:
            missing.append(service)
        found.append(WantedImage(need, attributes, archived))
    if missing:
        raise BundleError(
            f"the images of {', '.join(missing)} are not here, so they cannot be saved",
            hint="`stack up` brings them here",
        )
    return found
