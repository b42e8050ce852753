"""The OCI side of a bundle: manifests for images that no registry described, and the index of all (pure).

Source: the OCI image specification (manifest.md, image-index.md, image-layout.md).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

LAYOUT = '{"imageLayoutVersion": "1.0.0"}\n'
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
_LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
_NAME = "org.opencontainers.image.ref.name"


@dataclass(frozen=True)
class Layer:
    """One layer of an image as it lies in a bundle.

    Attributes:
        digest: Of its bytes there.
        size_bytes: Their number.
        compression: `gzip`, `zstd`, or an empty string for a plain tar, whose digest is then its `diff_id`.
    """

    digest: str
    size_bytes: int
    compression: str = ""


def build_image_manifest(config_digest: str, config_bytes: int, layers: Iterable[Layer]) -> bytes:
    """Give the manifest of an image whose blobs came out of a daemon: the same for the same blobs."""
    rows = [
        {
            "mediaType": _LAYER_TYPE + (f"+{layer.compression}" if layer.compression else ""),
            "digest": layer.digest,
            "size": layer.size_bytes,
        }
        for layer in layers
    ]
    config = {"mediaType": _CONFIG_TYPE, "digest": config_digest, "size": config_bytes}
    document = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": rows}
    return json.dumps(document, separators=(",", ":")).encode()


def render_index(rows: Iterable[tuple[str, str, int, str]]) -> str:
    """Give index.json.

    Args:
        rows: Name, digest, size and media type of what stands for each image.
    """
    entries = [
        {"mediaType": media_type, "digest": digest, "size": size, "annotations": {_NAME: name}}
        for name, digest, size, media_type in rows
    ]
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries}, indent=1) + "\n"


def detect_compression(head: bytes) -> str:
    """Tell by its first bytes how a layer is packed."""
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    return "zstd" if head.startswith(b"\x28\xb5\x2f\xfd") else ""
