"""Images from a bundle into the Docker engine: only those that are missing, under names that this tool gives.

Whatever the bundle calls an image, here it is `localhost/stack/bundle:<its ID>`. The state of this one project
remembers which ID stands for which digest, where the registry's own manifest proves that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import docker

from stack.bundles.manifest import BundleImage
from stack.bundles.problem import BundleError
from stack.bundles.received import check_image_document, parse_diff_ids
from stack.bundles.tar_format import BLOCK_BYTES, build_header, count_padding
from stack.containers.daemon import read_image, translated
from stack.errors import ImageError
from stack.images.archive_layout import (
    LAYOUT,
    ArchivedImage,
    Blob,
    build_blob_name,
    list_blobs,
    parse_kept_manifest,
    render_load_index,
    render_load_manifest,
)
from stack.images.archive_load import find_loaded, find_store, send_image
from stack.images.manifests import Manifest, parse_layers
from stack.images.reference import ImageReference, parse_reference
from stack.operations.bundle_images import name_carried
from stack.operations.bundle_open import OpenBundle
from stack.progress import ProgressEvent, Report


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


class ImageLoader:
    """Loads images of a verified bundle.

    Args:
        opened: The bundle.
        client: The engine.
        report: Told the bytes.
    """

    def __init__(self, opened: OpenBundle, client: docker.DockerClient, report: Report) -> None:
        self._opened, self._client, self._report = opened, client, report
        self._is_classic = find_store(client.info()) == "classic"

    def load(self, received: ReceivedImage) -> str:
        """Have one image in the engine under its name, and give its ID.

        Raises:
            ImageError: The engine refuses it.
        """
        task = f"load {received.service}"
        image_id = received.image_id or find_loaded(self._client, received.image)
        if image_id is None:
            try:
                image_id = self._send(received, self._find_here(received), task)
            except ImageError:
                if not self._is_classic:
                    raise
                # A layer that was here a moment ago may be gone with its image.
                image_id = self._send(received, (), task)
        else:
            self._report(ProgressEvent(task, "it is here already", state="skipped"))
        self._tag(image_id, received.tag)
        return image_id

    def _send(self, received: ReceivedImage, here: Collection[str], task: str) -> str:
        pieces = self._build_stream(received, here)
        return send_image(self._client, received.image, pieces, self._report, task)

    def _tag(self, image_id: str, tag: ImageReference) -> None:
        if (read_image(self._client, str(tag)) or {}).get("Id") == image_id:
            return
        with translated(f"naming the image {tag}"):
            self._client.images.get(image_id).tag(tag.name, tag.tag)

    def _find_here(self, received: ReceivedImage) -> set[str]:
        """Give the layers that the engine has under the same layers, so that they need not be sent.

        The classic store looks for a layer by all that lie under it before it reads it from the stream.
        """
        if not self._is_classic:
            return set()
        chains: set[tuple[str, ...]] = set()
        with translated("listing the images"):
            for item in self._client.images.list():
                known = tuple(item.attrs.get("RootFS", {}).get("Layers") or ())
                if not known:
                    known = tuple((read_image(self._client, str(item.id)) or {})["RootFS"].get("Layers") or ())
                chains |= {known[:length] for length in range(1, len(known) + 1)}
        return {layer for number, layer in enumerate(received.layers, 1) if tuple(received.diff_ids[:number]) in chains}

    def _build_stream(self, received: ReceivedImage, here: Collection[str]) -> Iterator[bytes]:
        """Give a tar for `docker load`; every blob of it was hashed before."""
        image, tag = received.image, received.tag
        yield from _build_member("oci-layout", LAYOUT.encode())
        yield from _build_member("index.json", render_load_index(image, tag).encode())
        yield from _build_member("manifest.json", render_load_manifest(image, received.layers, tag).encode())
        for blob in image.blobs:
            if blob.digest in here:
                continue
            file = self._opened.bundle.find_blob(blob.digest)
            yield build_header(build_blob_name(blob.digest), file.size_bytes)
            sent = 0
            for piece in self._opened.source.read_pieces(file.path):
                sent += len(piece)
                yield piece
            if sent != file.size_bytes:
                raise BundleError(f"{file.path} was cut while it was loaded")
            yield bytes(count_padding(file.size_bytes))
        yield bytes(2 * BLOCK_BYTES)


def _build_member(name: str, body: bytes) -> Iterator[bytes]:
    yield build_header(name, len(body)) + body + bytes(count_padding(len(body)))


def list_exact(received: Mapping[str, str], images: list[ReceivedImage]) -> dict[str, str]:
    """Give the image ID behind each proved digest, for the state."""
    return {item.exact: received[item.service] for item in images if item.exact is not None}
