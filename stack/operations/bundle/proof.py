"""What proves that an image is the one of a registry's digest: the registry's manifests, down to the image's ID.

A digest is the hash of a manifest, a manifest names a config, and a config's hash is the image's ID, which the
engine compares with every layer. So a few kilobytes prove gigabytes, whoever hands them over.
"""

from __future__ import annotations

from collections.abc import Sequence

from stack.bundles.writer import Writer
from stack.errors import ImageError
from stack.images.manifests import parse_layers, select_platform
from stack.images.reference import ImageReference, apply_mirror
from stack.images.registry import Registry
from stack.images.registry_auth import read_docker_login
from stack.operations.images.pinned_engine import open_http
from stack.operations.resolve import machine_platform
from stack.operations.session import Session


def find_proof(session: Session, writer: Writer, reference: ImageReference, image_id: str) -> Sequence[bytes]:
    """Give the registry's index and manifest that lead from a digest to an image; nothing where none can be had.

    Args:
        session: The run; told what cannot be proved.
        writer: The bundle, which may have had the proof before.
        reference: What the registry calls the image, with its digest.
        image_id: The digest of the image's config.
    """
    kept = _find_kept(writer, reference.digest, image_id)
    if kept:
        return kept
    try:
        return _fetch(session, reference, image_id)
    except ImageError as err:
        session.say(
            f"warning: the digest of {reference} cannot be proved in the bundle, so that image goes by its ID there "
            f"({err.message}); `stack pin --archive` keeps what proves the engine's"
        )
        return []


def _find_kept(writer: Writer, digest: str | None, image_id: str) -> list[bytes]:
    for image in writer.before.images if writer.before is not None else ():
        if (image.digest, image.image_id) == (digest, image_id):
            bodies = [writer.read_blob(item.removeprefix("sha256:")) for item in image.proof]
            if None not in bodies:
                return [body for body in bodies if body is not None]
    return []


def _fetch(session: Session, reference: ImageReference, image_id: str) -> list[bytes]:
    config = session.config
    with open_http(config) as http:
        registry = Registry(
            http, timeout_seconds=config.images.timeout_seconds, retries=1, credentials=read_docker_login
        )
        asked = apply_mirror(reference, config.images.mirror).with_tag(None)
        found = manifest = registry.fetch_manifest(asked)
        bodies = [found.body]
        if found.is_index:
            manifest = registry.fetch_manifest(asked.with_digest(select_platform(found, machine_platform())))
            bodies.append(manifest.body)
    if parse_layers(manifest)[0] != image_id:
        raise ImageError(f"{reference} is another image there than the one that is here")
    return bodies
