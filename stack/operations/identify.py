"""Read which vLLM an engine image is, and compare it with what was asked for."""

from __future__ import annotations

from dataclasses import dataclass

import docker

from stack.containers.daemon import read_image
from stack.errors import ImageError
from stack.images.identity import Identity, Origin, build_identity, check_identity
from stack.images.manifests import parse_image_config
from stack.images.reference import parse_reference
from stack.operations.fetch_images import ImageFetcher
from stack.operations.resolve import Resolved, build_lock_key
from stack.operations.session import Session


@dataclass(frozen=True)
class EngineIdentity:
    """Which vLLM the engine image is.

    Attributes:
        identity: Commit, level and version.
        image: What Compose is told.
        image_id: The image's ID here.
        digest: The digest that it was pulled by, or None.
    """

    identity: Identity
    image: str
    image_id: str
    digest: str | None


def identify_engine(
    session: Session, client: docker.DockerClient, resolved: Resolved, fetcher: ImageFetcher, image: str
) -> EngineIdentity:
    """Read the engine image's identity and hold it against the configuration.

    Raises:
        ImageError: The image is not of the commit that was asked for, or only claims to be.
    """
    attributes = read_image(client, image)
    if attributes is None:
        raise ImageError(f"the engine image `{image}` is not here any more", hint="run `stack up` again")
    fetched = fetcher.fetched("engine")
    entry = resolved.lock.images.get(build_lock_key("engine", resolved.device.device))
    digest = _read_digest(image) or (fetched.pulled.digest if fetched.pulled else None)
    upstream = entry.digest if entry is not None and entry.recorded_from == "upstream" else None
    if fetched.need.source == "packages":
        origin = Origin("built")
    elif digest is None:
        origin = Origin("loaded", upstream_digest=upstream)
    else:
        origin = Origin("registry", parse_reference(image) if "@" in image else None, digest, upstream)
    identity = build_identity(parse_image_config(attributes["Config"]), origin, resolved.published.values())
    config = session.config.engine
    problem = check_identity(identity, config.commit, config.accept)
    if problem is not None:
        raise problem
    return EngineIdentity(identity, image, attributes["Id"], digest)


def _read_digest(image: str) -> str | None:
    return image.partition("@")[2] or None
