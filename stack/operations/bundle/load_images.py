"""Images from a bundle into the Docker engine: only those that are missing, under names that this tool gives."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence

import docker

from stack.bundles.problem import BundleError
from stack.bundles.tar_format import BLOCK_BYTES, build_header, count_padding
from stack.containers.daemon import read_image, translated
from stack.errors import ImageError
from stack.images.archive_layout import (
    LAYOUT,
    Blob,
    build_blob_name,
    render_load_index,
    render_load_manifest,
)
from stack.images.archive_load import demand_loaded, find_store, send_stream
from stack.images.reference import ImageReference
from stack.operations.bundle.open import OpenBundle
from stack.operations.bundle.received_images import ReceivedImage
from stack.progress import ProgressEvent, Report


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
