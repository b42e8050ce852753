"""What the archive's files say, read and written as values: an OCI image layout with one entry for each kept image.

Source: the OCI image specification (image-layout.md, annotations.md); `io.containerd.image.name` is the annotation
by which containerd names what it imports (containerd's `images` package). No files here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from stack.errors import ImageError
from stack.images.manifests import INDEX_TYPES, MANIFEST_TYPES, Manifest, parse_layers, parse_manifest
from stack.images.reference import ImageReference, is_digest, parse_reference

LAYOUT = '{"imageLayoutVersion": "1.0.0"}\n'
NAME_ANNOTATION = "io.containerd.image.name"

_REFERENCE = "org.opencontainers.image.ref.name"
_REVISION = "org.opencontainers.image.revision"
_SERVED_BY = "dev.stack.served-by"
_PLATFORM = "dev.stack.platform-manifest"
_IMAGE_ID = "dev.stack.config"
_BLOBS = "dev.stack.blobs"
_LOCKS = "dev.stack.locks"
_KEPT_AT = "dev.stack.kept-at"


@dataclass(frozen=True)
class Blob:
    """One blob of an image.

    Attributes:
        digest: The sha256 of its bytes.
        size_bytes: Its size.
    """

    digest: str
    size_bytes: int


@dataclass(frozen=True)
class ArchivedImage:
    """One image of the archive.

    Attributes:
        digest: What is pinned: the digest of an index, or of a manifest.
        media_type: What lies behind it.
        size_bytes: Size of that index or manifest.
        reference: What the image is called upstream, without its digest.
        served_by: What the registry or mirror was asked for.
        platform_digest: The manifest of this machine's platform; the same digest where there is no index.
        image_id: The digest of its config; Docker's classic store shows it as the image ID.
        blobs: Everything that it consists of: index, manifest, config and layers.
        commit: The commit that its label names, or None.
        locks: The stack.lock files that are known to use it.
        kept_at: When it came into the archive (RFC 3339).
    """

    digest: str
    media_type: str
    size_bytes: int
    reference: str
    served_by: str
    platform_digest: str
    image_id: str
    blobs: tuple[Blob, ...]
    commit: str | None = None
    locks: tuple[str, ...] = ()
    kept_at: str = ""

    @property
    def name(self) -> str:
        """What it is called, with its digest and without its tag."""
        return f"{parse_reference(self.reference).name}@{self.digest}"

    @property
    def total_bytes(self) -> int:
        """What all of it takes."""
        return sum(blob.size_bytes for blob in self.blobs)


def list_blobs(manifest: Manifest) -> tuple[Blob, tuple[Blob, ...]]:
    """Give a manifest's config and its layers, each layer once.

    Raises:
        ImageError: It names no config, or a layer that no registry has to have.
    """
    config, layers = parse_layers(manifest)
    if any(layer.get("urls") for layer in manifest.document.get("layers") or []):
        raise ImageError("the image cannot be kept: some of its layers lie elsewhere than in the registry")
    size = manifest.document["config"].get("size")
    blob = Blob(config, size if isinstance(size, int) else 0)
    return blob, tuple(Blob(digest, size_bytes) for digest, size_bytes in layers.items())


def parse_kept_manifest(body: bytes) -> Manifest:
    """Read an index or a manifest without the type that the registry told beside it.

    Raises:
        ImageError: It is neither.
    """
    is_index = b'"manifests"' in body and b'"layers"' not in body
    return parse_manifest(body, (INDEX_TYPES if is_index else MANIFEST_TYPES)[0])


def parse_index(text: str) -> dict[str, ArchivedImage]:
    """Read the archive's index.json; entries that others put there are left out.

    Raises:
        ValueError: It is no index.
    """
    document = json.loads(text)
    entries = document.get("manifests") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("it is no OCI index")
    images = [_parse_entry(entry) for entry in entries if _SERVED_BY in (entry.get("annotations") or {})]
    return {image.digest: image for image in images}


def _parse_entry(entry: Mapping[str, Any]) -> ArchivedImage:
    words = entry["annotations"]
    blobs = tuple(Blob(digest, int(size)) for digest, _, size in (row.partition(" ") for row in _rows(words, _BLOBS)))
    digests = [entry["digest"], words[_PLATFORM], words[_IMAGE_ID], *(blob.digest for blob in blobs)]
    if not all(is_digest(digest) for digest in digests):
        # They become names of files.
        raise ValueError("an entry names what is no digest")
    return ArchivedImage(
        digest=entry["digest"],
        media_type=str(entry["mediaType"]),
        size_bytes=int(entry["size"]),
        reference=str(parse_reference(words[_REFERENCE])),
        served_by=str(parse_reference(words[_SERVED_BY])),
        platform_digest=words[_PLATFORM],
        image_id=words[_IMAGE_ID],
        blobs=blobs,
        commit=words.get(_REVISION),
        locks=tuple(_rows(words, _LOCKS)),
        kept_at=words.get(_KEPT_AT, ""),
    )


def _rows(words: Mapping[str, str], name: str) -> list[str]:
    return [row for row in words.get(name, "").split("\n") if row]


def render_index(images: Iterable[ArchivedImage]) -> str:
    """Give the text of the archive's index.json: sorted, so that the same archive is the same text."""
    entries = []
    for image in sorted(images, key=lambda image: image.digest):
        words = {
            _REFERENCE: image.reference,
            _SERVED_BY: image.served_by,
            _PLATFORM: image.platform_digest,
            _IMAGE_ID: image.image_id,
            _BLOBS: "\n".join(f"{blob.digest} {blob.size_bytes}" for blob in image.blobs),
            _LOCKS: "\n".join(sorted(image.locks)),
            _KEPT_AT: image.kept_at,
        }
        if image.commit:
            words[_REVISION] = image.commit
        entries.append(_build_descriptor(image, words))
    return _render({"schemaVersion": 2, "mediaType": INDEX_TYPES[0], "manifests": entries})


def render_load_index(image: ArchivedImage, tag: ImageReference | None) -> str:
    """Give the index.json of a stream for `docker load`: what a daemon on containerd's store reads."""
    words = {NAME_ANNOTATION: str(tag), _REFERENCE: str(tag.tag)} if tag is not None else {}
    return _render({"schemaVersion": 2, "mediaType": INDEX_TYPES[0], "manifests": [_build_descriptor(image, words)]})


def render_load_manifest(image: ArchivedImage, layers: Iterable[str], tag: ImageReference | None) -> str:
    """Give the manifest.json of a stream for `docker load`: what a daemon on the classic store reads.

    Args:
        image: The image.
        layers: Digests of its layers in order; one that the manifest names twice is named twice.
        tag: What the image is called there, or None.
    """
    entry = {
        "Config": build_blob_name(image.image_id),
        "RepoTags": [str(tag)] if tag is not None else None,
        "Layers": [build_blob_name(layer) for layer in layers],
    }
    return _render([entry])


def build_blob_name(digest: str) -> str:
    """Give where a blob lies in an OCI image layout."""
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _build_descriptor(image: ArchivedImage, words: Mapping[str, str]) -> dict[str, Any]:
    entry: dict[str, Any] = {"mediaType": image.media_type, "digest": image.digest, "size": image.size_bytes}
    return entry | ({"annotations": dict(words)} if words else {})


def _render(document: Any) -> str:
    return json.dumps(document, indent=2, sort_keys=True) + "\n"
