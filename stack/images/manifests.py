"""What a registry stores, read from its bytes: indexes, manifests and image configs. No network here.

Source: the OCI image specification (image-index.md, manifest.md, config.md) and its Docker forebears.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from stack.errors import ImageError
from stack.images.reference import is_digest

INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
# All four at once: a registry that is not offered the type it holds converts it, and the digest is another.
ACCEPT = ", ".join(INDEX_TYPES + MANIFEST_TYPES)

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Manifest:
    """An index or a manifest as it was served.

    Attributes:
        digest: The sha256 of its bytes.
        media_type: What it says it is.
        document: Its JSON.
        body: Its bytes.
    """

    digest: str
    media_type: str
    document: Mapping[str, Any]
    body: bytes = field(default=b"", repr=False)

    @property
    def is_index(self) -> bool:
        """Whether it names one manifest for each platform."""
        return self.media_type in INDEX_TYPES


@dataclass(frozen=True)
class ImageConfig:
    """What an image says of itself.

    Attributes:
        labels: Its labels.
        environment: Its environment.
        entrypoint: What it runs.
        platform: `os/architecture`, where it says so.
        created: When it was built (RFC 3339), where it says so.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    entrypoint: tuple[str, ...] = ()
    platform: str | None = None
    created: str | None = None


@dataclass(frozen=True)
class RemoteImage:
    """An image as a registry describes it, before any pull.

    Attributes:
        digest: What the reference points at (an index's digest where there is one): this is what is pinned.
        platform_digest: The manifest of this machine's platform.
        image_id: The digest of its config; Docker's classic store shows it as the image ID.
        config: What the image says of itself.
        layer_sizes_bytes: Size of each compressed layer, by its digest.
    """

    digest: str
    platform_digest: str
    image_id: str
    config: ImageConfig
    layer_sizes_bytes: Mapping[str, int]

    @property
    def size_bytes(self) -> int:
        """What a full pull moves."""
        return sum(self.layer_sizes_bytes.values())


def build_platform(machine: str) -> str:
    """Give the platform (`linux/amd64`) of a machine as `uname -m` or `docker version` names it."""
    return f"linux/{_ARCHITECTURES.get(machine, machine)}"


def compute_digest(body: bytes) -> str:
    """Give the digest of bytes."""
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def parse_manifest(body: bytes, content_type: str) -> Manifest:
    """Read an index or a manifest.

    Raises:
        ImageError: It is neither, or of a format from before 2017 that says nothing checkable.
    """
    document = _parse_object(body, "manifest")
    # A manifest states its type itself; where it does not (OCI leaves it open), the header does.
    media_type = document.get("mediaType") or content_type.partition(";")[0].strip()
    if media_type not in INDEX_TYPES + MANIFEST_TYPES:
        raise ImageError(f"the registry answers with `{media_type}`, which is not an image")
    return Manifest(compute_digest(body), media_type, document, body)


def select_platform(index: Manifest, platform: str) -> str:
    """Give the digest of the manifest for a platform such as `linux/amd64` or `linux/arm64/v8`.

    Raises:
        ImageError: The index has none for it.
    """
    wanted = platform.split("/")
    entries = [entry for entry in _objects(index.document.get("manifests")) if _is_image(entry)]
    for entry in entries:
        has = _platform_of(entry)
        if has[:2] == wanted[:2] and (len(wanted) < 3 or has[2:3] in ([], wanted[2:3])):
            return _digest_of(entry)
    offered = ", ".join(sorted({"/".join(_platform_of(entry)) for entry in entries})) or "nothing"
    raise ImageError(
        f"the image is not made for {platform}: it offers {offered}",
        hint="choose another image or another `engine.device`",
    )


def parse_layers(manifest: Manifest) -> tuple[str, dict[str, int]]:
    """Give the digest of a manifest's config and the size of each of its layers in bytes.

    Raises:
        ImageError: It names no config.
    """
    layers = {_digest_of(layer): _size_of(layer) for layer in _objects(manifest.document.get("layers"))}
    config = manifest.document.get("config")
    return _digest_of(config if isinstance(config, dict) else {}), layers


def parse_config(body: bytes) -> ImageConfig:
    """Read an image's config blob.

    Raises:
        ImageError: It is not one.
    """
    document = _parse_object(body, "image config")
    config, created = document.get("config"), document.get("created")
    parsed = parse_image_config(config if isinstance(config, dict) else {})
    parts = (document.get("os"), document.get("architecture"))
    platform = "/".join(parts) if all(isinstance(part, str) and part for part in parts) else None
    return replace(parsed, platform=platform, created=created if isinstance(created, str) else None)


def parse_image_config(config: Mapping[str, Any]) -> ImageConfig:
    """Read the `config` of a config blob, or the `Config` that `docker image inspect` shows."""
    environment = dict(str(entry).partition("=")[::2] for entry in config.get("Env") or [])
    entrypoint = config.get("Entrypoint") or ()
    parts = (entrypoint,) if isinstance(entrypoint, str) else tuple(entrypoint)
    return ImageConfig(dict(config.get("Labels") or {}), environment, parts)


def _parse_object(body: bytes, what: str) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as err:
        raise ImageError(f"the registry's {what} is not JSON") from err
    if not isinstance(document, dict):
        raise ImageError(f"the registry's {what} is not a JSON object")
    return document


def _objects(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _size_of(descriptor: Mapping[str, Any]) -> int:
    size = descriptor.get("size")
    return size if isinstance(size, int) and size > 0 else 0


def _is_image(entry: Mapping[str, Any]) -> bool:
    # BuildKit stores attestations as manifests of the platform unknown/unknown.
    return "vnd.docker.reference.type" not in (entry.get("annotations") or {})


def _platform_of(entry: Mapping[str, Any]) -> list[str]:
    platform = entry.get("platform")
    platform = platform if isinstance(platform, dict) else {}
    parts = [
        platform.get("os", "unknown"),
        platform.get("architecture", "unknown"),
        platform.get("variant", ""),
    ]
    return [part for part in parts if part]


def _digest_of(descriptor: Mapping[str, Any]) -> str:
    digest = descriptor.get("digest", "")
    if not isinstance(digest, str) or not is_digest(digest):
        raise ImageError(f"the registry's manifest names `{digest}`, which is not a sha256 digest")
    return digest
