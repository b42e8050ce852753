"""Images from a bundle into the Docker engine: only those that are missing, under names that this tool gives.

Whatever the bundle calls an image, here it is `localhost/stack/bundle:<its ID>`. The state of this one project
remembers which ID stands for which digest, where the registry's own manifest proves that.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
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
from stack.images.archive_load import demand_loaded, find_loaded, find_store, send_stream
from stack.images.manifests import Manifest, parse_layers
from stack.images.reference import ImageReference, parse_reference
from stack.operations.bundle.images import name_carried
from stack.operations.bundle.open import OpenBundle
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
    """Loads the images of a bundle.

    Args:
        opened: The bundle.
        client: The engine.
        report: Told the bytes.
    """

    def __init__(self, opened: OpenBundle, client: docker.DockerClient, report: Report) -> None:
        self._opened, self._client, self._report = opened, client, report
        self._is_classic = find_store(client.info()) == "classic"

    def load(self, images: Sequence[ReceivedImage], wait_verified: Callable[[], None]) -> dict[str, str]:
        """Have every image in the engine under its name, and give the ID of each service's.

        All that is missing goes in one stream, whose lists of images come last: of a stream without them the engine
        takes nothing, so that it may be sent while it is still verified.

        Args:
            images: The images.
            wait_verified: Ends when every byte of the bundle was found to be right, and raises where one was not.

        Raises:
            ImageError: The engine refuses it.
        """
        for item in images:
            if item.image_id is not None:
                self._report(ProgressEvent(f"load {item.service}", "it is here already", state="skipped"))
        missing = list({item.image.image_id: item for item in images if item.image_id is None}.values())
        if missing:
            self._send(missing, wait_verified)
        else:
            wait_verified()
        ids = {item.service: item.image_id or demand_loaded(self._client, item.image) for item in images}
        for item in images:
            self._tag(ids[item.service], item.tag)
        return ids

    def _send(self, missing: Sequence[ReceivedImage], wait_verified: Callable[[], None]) -> None:
        try:
            self._send_once(missing, self._find_sent(missing), wait_verified)
        except ImageError:
            if not self._is_classic:
                raise
            # A layer that was here a moment ago may be gone with its image.
            wait_verified()
            self._send_once(missing, {blob for item in missing for blob in item.image.blobs}, wait_verified)

    def _send_once(
        self, missing: Sequence[ReceivedImage], blobs: Collection[Blob], wait_verified: Callable[[], None]
    ) -> None:
        task, size_bytes = "load images", sum(blob.size_bytes for blob in blobs)
        name = ", ".join(item.service for item in missing)
        pieces = self._build_stream(missing, blobs, wait_verified)
        send_stream(self._client, pieces, name, size_bytes, self._report, task)
        self._report(ProgressEvent(task, name, size_bytes, size_bytes, "done"))

    def _tag(self, image_id: str, tag: ImageReference) -> None:
        if (read_image(self._client, str(tag)) or {}).get("Id") == image_id:
            return
        with translated(f"naming the image {tag}"):
            self._client.images.get(image_id).tag(tag.name, tag.tag)

    def _find_sent(self, missing: Sequence[ReceivedImage]) -> set[Blob]:
        """Give the blobs that the engine needs: not the layers that it has under the same layers.

        The classic store looks for a layer by all that lie under it before it reads it from the stream.
        """
        chains = self._list_chains() if self._is_classic else set()
        sent: set[Blob] = set()
        for item in missing:
            here = {layer for number, layer in enumerate(item.layers, 1) if tuple(item.diff_ids[:number]) in chains}
            sent |= {blob for blob in item.image.blobs if blob.digest not in here}
        return sent

    def _list_chains(self) -> set[tuple[str, ...]]:
        chains: set[tuple[str, ...]] = set()
        with translated("listing the images"):
            for item in self._client.images.list():
                known = tuple(item.attrs.get("RootFS", {}).get("Layers") or ())
                if not known:
                    known = tuple((read_image(self._client, str(item.id)) or {})["RootFS"].get("Layers") or ())
                chains |= {known[:length] for length in range(1, len(known) + 1)}
        return chains

    def _build_stream(
        self, missing: Sequence[ReceivedImage], blobs: Collection[Blob], wait_verified: Callable[[], None]
    ) -> Iterator[bytes]:
        """Give a tar for `docker load`; what makes images of its blobs comes when every blob of it was hashed."""
        yield from _build_member("oci-layout", LAYOUT.encode())
        for digest in sorted({blob.digest for blob in blobs}):
            file = self._opened.bundle.find_blob(digest)
            yield build_header(build_blob_name(digest), file.size_bytes)
            sent = 0
            for piece in self._opened.source.read_pieces(file.path):
                sent += len(piece)
                yield piece
            if sent != file.size_bytes:
                # A bundle that was damaged says so by name, if this is why.
                wait_verified()
                raise BundleError(f"{file.path} was cut while it was loaded")
            yield bytes(count_padding(file.size_bytes))
        wait_verified()
        indexes = [json.loads(render_load_index(item.image, item.tag)) for item in missing]
        index = indexes[0] | {"manifests": [entry for one in indexes for entry in one["manifests"]]}
        listed = [entry for item in missing for entry in json.loads(_render_manifest(item))]
        yield from _build_member("index.json", json.dumps(index).encode())
        yield from _build_member("manifest.json", json.dumps(listed).encode())
        yield bytes(2 * BLOCK_BYTES)


def _render_manifest(received: ReceivedImage) -> str:
    return render_load_manifest(received.image, received.layers, received.tag)


def _build_member(name: str, body: bytes) -> Iterator[bytes]:
    yield build_header(name, len(body)) + body + bytes(count_padding(len(body)))


def list_exact(received: Mapping[str, str], images: list[ReceivedImage]) -> dict[str, str]:
    """Give the image ID behind each proved digest, for the state."""
    return {item.exact: received[item.service] for item in images if item.exact is not None}
