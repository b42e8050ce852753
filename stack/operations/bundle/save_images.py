"""A stack's images into a bundle: from the archive with the registry's own blobs, else out of the Docker engine.

Out of the engine a layer comes as a plain tar, whose hash is the `diff_id` that the image's config names. A
digest is carried only with its proof: the registry's manifest, which names the config that is the image's ID. An
image without one, and so every one that was made here, goes by its ID under a name of the bundle's own: under the name
of a recipe or of a registry it would pass, on the machine that loads it, for what other projects build or pull.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import docker

from stack.bundles.export import Exported, read_export
from stack.bundles.files import ChangedFileError, read_file_pieces
from stack.bundles.manifest import BundleFile, BundleImage
from stack.bundles.names import build_blob_path
from stack.bundles.oci import Layer, build_image_manifest
from stack.bundles.writer import Writer
from stack.containers.daemon import translated
from stack.errors import ImageError
from stack.images.archive_load import find_store
from stack.images.archive_store import Archive
from stack.images.layer_store import LayerStore, find_layer_store
from stack.images.manifests import compute_digest
from stack.images.recipe import REPOSITORY
from stack.images.reference import parse_reference
from stack.operations.bundle.proof import find_proof
from stack.operations.bundle.wanted import WantedImage
from stack.operations.session import Session
from stack.progress import ProgressEvent

CARRIED = f"{REPOSITORY}/bundle"
_EXPORT_BYTES = 1024**2


@dataclass(frozen=True)
class SavedImage:
    """One image that is in the bundle.

    Attributes:
        image: What the manifest says of it.
        files: Its blobs.
        is_renamed: Whether it goes by a name of its own in the bundle, which the configuration has to say.
    """

    image: BundleImage
    files: tuple[BundleFile, ...]
    is_renamed: bool


class ImageSaver:
    """Brings images into a bundle.

    Args:
        session: The run.
        client: The engine.
        writer: The bundle.
    """

    def __init__(self, session: Session, client: docker.DockerClient, writer: Writer) -> None:
        self._session, self._client, self._writer = session, client, writer
        info = client.info()
        self._is_classic = find_store(info) == "classic"
        self._store: LayerStore | None = find_layer_store(info) if self._is_classic else None
        self._archive = Archive(session.config.images.archive_dir)

    def save(self, wanted: WantedImage) -> SavedImage:
        """Bring one image into the bundle, as far as it is not there yet.

        Raises:
            ImageError: It cannot be had, or the bundle cannot be written.
        """
        task = f"save {wanted.need.service}"
        counted = _Counter(self._session, task, wanted.size_bytes)
        try:
            saved = self._save_archived(wanted, counted) if wanted.archived else self._save_local(wanted, counted)
        except ImageError as err:
            self._session.report(ProgressEvent(task, err.message, state="failed"))
            raise
        total = sum(file.size_bytes for file in saved.files)
        self._session.report(ProgressEvent(task, counted.describe(), total, total, "done"))
        return saved

    def _save_archived(self, wanted: WantedImage, counted: _Counter) -> SavedImage:
        image = wanted.archived
        assert image is not None
        with self._archive.using(self._session.report):
            self._archive.read_manifest(image)
            for blob in image.blobs:
                pieces = counted(read_file_pieces(self._archive.blob_path(blob.digest)))
                self._writer.add_blob(pieces, blob.size_bytes, blob.digest.removeprefix("sha256:"))
        proof = tuple(dict.fromkeys((image.digest, image.platform_digest)))
        name = str(parse_reference(image.reference).with_digest(None))
        said = BundleImage(
            service=wanted.need.service,
            name=name,
            digest=image.digest,
            image_id=image.image_id,
            manifest=image.platform_digest,
            proof=proof,
        )
        return SavedImage(said, self._list_files(wanted, [blob.digest for blob in image.blobs]), False)

    def _save_local(self, wanted: WantedImage, counted: _Counter) -> SavedImage:
        exported = self._take(wanted, counted)
        manifest = build_image_manifest(exported.config_digest, len(exported.config), exported.layers)
        manifest_digest = f"sha256:{self._writer.add_body(manifest)}"
        self._writer.add_body(exported.config)
        proof = ()
        if wanted.reference is not None:
            proof = find_proof(self._session, self._writer, wanted.reference, exported.config_digest)
        for body in proof:
            self._writer.add_body(body)
        digests = [compute_digest(body) for body in proof]
        is_proved = bool(proof) and wanted.reference is not None
        name = str(wanted.reference.with_digest(None)) if is_proved else name_carried(exported.config_digest)
        said = BundleImage(
            service=wanted.need.service,
            name=name,
            digest=digests[0] if digests else None,
            image_id=exported.config_digest,
            manifest=manifest_digest,
            proof=tuple(digests),
        )
        blobs = [manifest_digest, exported.config_digest, *(layer.digest for layer in exported.layers), *digests]
        return SavedImage(said, self._list_files(wanted, blobs), not is_proved)

    def _take(self, wanted: WantedImage, counted: _Counter) -> Exported:
        image_id, diff_ids = str(wanted.attributes["Id"]), list(wanted.attributes["RootFS"].get("Layers") or [])
        if self._is_classic:
            config = self._store.read_config(image_id) if self._store is not None else None
            if self._store is not None and config is not None:
                self._read_layers(self._store, diff_ids, counted)
            if config is None:
                config = self._writer.read_blob(image_id.removeprefix("sha256:"))
            sizes = [self._writer.has(diff_id.removeprefix("sha256:")) for diff_id in diff_ids]
            if config is not None and None not in sizes:
                layers = [Layer(diff_id, size or 0) for diff_id, size in zip(diff_ids, sizes, strict=True)]
                return Exported(image_id, config, tuple(layers))
        # The engine gives whole images only: the layers that are there already come again, and are dropped.
        with translated(f"saving the image {wanted.need.name}"):
            pieces = self._client.api.get_image(wanted.need.name, chunk_size=_EXPORT_BYTES)
            return read_export(counted(pieces), lambda blob, size: self._writer.add_blob(blob, size), wanted.need.name)

    def _read_layers(self, store: LayerStore, diff_ids: Sequence[str], counted: _Counter) -> None:
        """Bring the layers that are not there yet, each by itself; one that cannot be read so is left to the engine."""
        for number, diff_id in enumerate(diff_ids, 1):
            sha256 = diff_id.removeprefix("sha256:")
            if self._writer.has(sha256) is not None:
                continue
            pieces = store.open_layer(diff_ids[:number])
            try:
                if pieces is None:
                    return
                self._writer.add_blob(counted(pieces), None, sha256)
            except ChangedFileError:
                return

    def _list_files(self, wanted: WantedImage, digests: Iterable[str]) -> tuple[BundleFile, ...]:
        files = []
        for digest in dict.fromkeys(digests):
            sha256 = digest.removeprefix("sha256:")
            size = self._writer.has(sha256)
            assert size is not None, digest
            files.append(
                BundleFile(
                    path=build_blob_path(sha256),
                    part="image",
                    name=wanted.need.service,
                    size_bytes=size,
                    sha256=sha256,
                )
            )
        return tuple(files)


class _Counter:
    """Reports the bytes of one image as they pass."""

    def __init__(self, session: Session, task: str, total_bytes: int) -> None:
        self._report, self._task, self._total_bytes = session.report, task, total_bytes
        self.done_bytes = 0

    def __call__(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        self._tell(0)
        for piece in pieces:
            yield piece
            self._tell(len(piece))

    def _tell(self, count: int) -> None:
        self.done_bytes += count
        self._report(ProgressEvent(self._task, "", self.done_bytes, max(self._total_bytes, self.done_bytes)))

    def describe(self) -> str:
        return "" if self.done_bytes else "unchanged"


def name_carried(image_id: str) -> str:
    """Give the name of an image that nothing but its own ID vouches for: all of it, so that none can be made to fit."""
    return f"{CARRIED}:{image_id.removeprefix('sha256:')}"
