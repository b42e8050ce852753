"""Read which vLLM an engine image is, and compare it with what was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import docker

from stack.containers.daemon import read_image
from stack.errors import ImageError
from stack.images.identity import Identity, Origin, build_identity, check_identity
from stack.images.manifests import parse_image_config
from stack.images.reference import apply_mirror, parse_reference
from stack.operations.bundle.lock import FROM_BUNDLE
from stack.operations.images.resolve import build_lock_key
from stack.operations.pin.lock import use_pin
from stack.operations.resolve import Resolved
from stack.operations.session import Session


@dataclass(frozen=True)
class EngineIdentity:
    """Which vLLM the engine image is.

    Attributes:
        identity: Commit, level and version.
        image: What Compose is told.
        image_id: The image's ID here.
        digest: The digest that it was pulled by, or that its ID was seen behind; None where neither is known.
    """

    identity: Identity
    image: str
    image_id: str
    digest: str | None


def identify_engine(
    session: Session,
    client: docker.DockerClient,
    resolved: Resolved,
    image: str,
    image_ids: Mapping[str, str] | None = None,
) -> EngineIdentity:
    """Read the engine image's identity and hold it against the configuration.

    Args:
        session: The run.
        client: The daemon.
        resolved: The decisions.
        image: What Compose is told.
        image_ids: The image ID behind each digest that is known by now; None takes the facts'.

    Raises:
        ImageError: The image is not of the commit that was asked for, or only claims to be.
    """
    attributes = read_image(client, image)
    if attributes is None:
        raise ImageError(f"the engine image `{image}` is not here any more", hint="run `stack up` again")
    known = resolved.facts.image_ids if image_ids is None else image_ids
    digest = image.partition("@")[2] or _find_digest(session, resolved, attributes["Id"], known)
    origin = _build_origin(session, resolved, image, digest)
    identity = build_identity(parse_image_config(attributes["Config"]), origin, resolved.published.values())
    _demand(session, resolved, identity)
    return EngineIdentity(identity, image, attributes["Id"], digest)


def check_known_identity(session: Session, client: docker.DockerClient, resolved: Resolved) -> None:
    """Refuse a pinned commit before anything is built or started, as far as its image is known already.

    Raises:
        ImageError: It is not the commit that was asked for, or only claims to be.
    """
    need = resolved.needs["engine"]
    if use_pin(session.config, resolved.lock).engine.commit is None:
        return
    if need.action == "none":
        identify_engine(session, client, resolved, need.name)
    elif need.recipe is not None:
        built = dict(need.recipe.arguments)
        found = Identity(built.get("COMMIT") or None, "claimed", built.get("VERSION"), "built here from packages")
        _demand(session, resolved, found)


def _find_digest(session: Session, resolved: Resolved, image_id: str, known: Mapping[str, str]) -> str | None:
    """Give the wanted digest where an image has the ID that was seen behind it: `docker load` keeps no digest."""
    wanted = resolved.needs["engine"].wanted
    if wanted is None or wanted.reference.digest is None:
        return None
    places = (wanted.reference, apply_mirror(wanted.reference, session.config.images.mirror))
    names = [f"{place.name}@{wanted.reference.digest}" for place in places]
    return wanted.reference.digest if any(known.get(name) == image_id for name in names) else None


def _build_origin(session: Session, resolved: Resolved, image: str, digest: str | None) -> Origin:
    need = resolved.needs["engine"]
    if need.source == "packages":
        return Origin("built")
    entry = resolved.lock.images.get(build_lock_key("engine", resolved.device.device))
    upstream, tag = None, None
    if entry is not None and entry.recorded_from == "upstream":
        upstream, tag = entry.digest, entry.tag
    if digest is None:
        return Origin("loaded", upstream_digest=upstream)
    if "@" not in image:
        said = entry.tag if entry is not None and entry.recorded_from == FROM_BUNDLE else None
        return Origin("proved", digest=digest, upstream_digest=upstream, upstream_tag=tag, claimed_tag=said)
    served_by, wanted = parse_reference(image), need.wanted
    if session.config.engine.image is None and wanted is not None and wanted.reference.digest == digest:
        # We asked for this tag ourselves; one that the configuration names may stand beside any digest.
        served_by = served_by.with_tag(wanted.reference.tag)
    return Origin("registry", served_by, digest, upstream, tag)


def _demand(session: Session, resolved: Resolved, identity: Identity) -> None:
    config = use_pin(session.config, resolved.lock)
    problem = check_identity(identity, config.engine.commit, config.engine.accept)
    if problem is not None:
        raise problem
