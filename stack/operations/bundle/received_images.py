"""Images of a bundle held against their own manifests, before any of them is loaded.

Whatever the bundle calls an image, here it is `localhost/stack/bundle:<its ID>`. The state of this one project
remembers which ID stands for which digest, where the registry's own manifest proves that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import docker

from stack.bundles.manifest import BundleImage
from stack.bundles.problem import BundleError
from stack.bundles.received import check_image_document, parse_diff_ids
from stack.images.archive_layout import (
    ArchivedImage,
    Blob,
    list_blobs,
    parse_kept_manifest,
)
from stack.images.archive_load import find_loaded
from stack.images.manifests import Manifest, parse_layers
from stack.images.reference import ImageReference, parse_reference
from stack.operations.bundle.open import OpenBundle
from stack.operations.bundle.save_images import name_carried


@dataclass(frozen=True)
class ReceivedImage:
    """One image of a bundle that was held against its own manifests.

    Attributes:
        service: The Compose service.
        image: The image as the loading of archived ones knows it.
        layers: Digests of its layers in order.
        diff_ids: The hash of each layer's plain tar.
        tag: What it will be called here.
        exact: Name and digest that a registry knows it by, where that is proved; else None.
        image_id: Its ID here already, or None.
    """

    service: str
    image: ArchivedImage
    layers: tuple[str, ...]
    diff_ids: tuple[str, ...]
    tag: ImageReference
    exact: str | None
    image_id: str | None


def receive_images(opened: OpenBundle, client: docker.DockerClient) -> list[ReceivedImage]:
    """Hold every image against its manifests, and decide what it is called here; loads nothing.

    Raises:
        ImageError: The bundle contradicts itself.
    """
    return [_receive(opened, client, said) for said in opened.bundle.images]


def _receive(opened: OpenBundle, client: docker.DockerClient, said: BundleImage) -> ReceivedImage:
    manifest = _read_manifest(opened, said, said.manifest)
    if manifest.is_index:
        raise BundleError(f"the bundle's image of {said.service} has an index where its manifest belongs")
    config, layers = list_blobs(manifest)
    if config.digest != said.image_id:
        raise BundleError(f"the bundle's image of {said.service} is not the one that its manifest describes")
    in_order = tuple(str(layer["digest"]) for layer in manifest.document.get("layers") or [])
    diff_ids = parse_diff_ids(opened.read(said.image_id), f"image config of {said.service}")
    if len(diff_ids) != len(in_order):
        raise BundleError(f"the bundle's image of {said.service} has {len(in_order)} layers, and names {len(diff_ids)}")
    for blob in layers:
        if opened.bundle.find_blob(blob.digest).size_bytes != blob.size_bytes:
            raise BundleError(f"the bundle's image of {said.service} has a layer of another size than it names")
    name = parse_reference(said.name).with_digest(None)
    digest = _prove(opened, said)
    # The registry's own manifests lead to the registry's own blobs only where the bundle has those.
    stands_for = digest if digest is not None and said.manifest in said.proof else said.manifest
    roots = said.proof if stands_for == digest else (said.manifest,)
    image = ArchivedImage(
        digest=stands_for,
        media_type=_read_manifest(opened, said, stands_for).media_type,
        size_bytes=_blob(opened, stands_for).size_bytes,
        reference=str(name),
        served_by=str(name),
        platform_digest=said.manifest,
        image_id=said.image_id,
        blobs=(*(_blob(opened, item) for item in dict.fromkeys(roots)), config, *layers),
    )
    tag = parse_reference(name_carried(said.image_id))
    exact = f"{name.name}@{digest}" if digest else None
    return ReceivedImage(said.service, image, in_order, tuple(diff_ids), tag, exact, find_loaded(client, image))


def _read_manifest(opened: OpenBundle, said: BundleImage, digest: str) -> Manifest:
    body = opened.read(digest)
    check_image_document(body, f"manifest of {said.service}")
    return parse_kept_manifest(body)


def _blob(opened: OpenBundle, digest: str) -> Blob:
    return Blob(digest, opened.bundle.find_blob(digest).size_bytes)


def _prove(opened: OpenBundle, said: BundleImage) -> str | None:
    """Give the digest where the registry's own manifests lead from it to the image's ID, or None where none is said.

    Raises:
        BundleError: They lead elsewhere.
    """
    if said.digest is None:
        return None
    wrong = BundleError(
        f"the bundle says that {said.service}'s image is {said.digest}, and its manifests say otherwise"
    )
    if not said.proof or said.proof[0] != said.digest:
        raise wrong
    manifest = _read_manifest(opened, said, said.digest)
    if manifest.is_index:
        named = {entry.get("digest") for entry in manifest.document.get("manifests") or [] if isinstance(entry, dict)}
        if len(said.proof) != 2 or said.proof[1] not in named:
            raise wrong
        manifest = _read_manifest(opened, said, said.proof[1])
    if parse_layers(manifest)[0] != said.image_id:
        raise wrong
    return said.digest


def list_exact(received: Mapping[str, str], images: list[ReceivedImage]) -> dict[str, str]:
    """Give the image ID behind each proved digest, for the state."""
    return {item.exact: received[item.service] for item in images if item.exact is not None}
