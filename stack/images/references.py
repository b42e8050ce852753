"""The table of published images (`compose/images.toml`), and what a service runs by it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from stack.assets import asset_path
from stack.errors import ImageError
from stack.images.reference import ImageReference, check_digest, parse_reference

Device = Literal["cuda", "cpu"]

_SCHEMA_VERSION = 1
_RECORDS_NEEDED = 3
_COMMIT = re.compile(r"[0-9a-f]{40}")
_NAMES = frozenset(
    {"engine.cuda", "engine.cpu", "prometheus", "alertmanager", "grafana", "node-exporter", "dcgm-exporter", "nginx"}
)
# Compose's service names, where they differ from the name of what they run.
_SERVICE_IMAGES = {"gateway": "nginx"}


@dataclass(frozen=True)
class PublishedImage:
    """One entry of the table.

    Attributes:
        repository: Registry and repository.
        tag: The release's tag.
        digest: What the tag must point at; None where public records do not settle it.
        version: The release.
        commit: vLLM's commit (40 hex digits) of that release.
        recorded_in: Who recorded the digest.
        commit_recorded_in: Who recorded the commit.
    """

    repository: str
    tag: str
    version: str
    digest: str | None = None
    commit: str | None = None
    recorded_in: tuple[str, ...] = ()
    commit_recorded_in: tuple[str, ...] = ()

    @property
    def reference(self) -> ImageReference:
        """Where it lies, pinned where the digest is known."""
        return parse_reference(f"{self.repository}:{self.tag}").with_digest(self.digest)


@dataclass(frozen=True)
class WantedImage:
    """What a service is to run.

    Attributes:
        service: The Compose service.
        reference: What to ask for, before any mirror.
        published: Its entry in the table; None for an image that was named in the config.
    """

    service: str
    reference: ImageReference
    published: PublishedImage | None


def load_published_images(path: Path | None = None) -> dict[str, PublishedImage]:
    """Load the table, by name (`engine.cuda`, `prometheus`, …).

    Raises:
        ImageError: The file does not say what such a file must say.
    """
    path = path or asset_path("compose", "images.toml")
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as err:
        raise ImageError(f"{path} cannot be read: {err}") from err
    return parse_published_images(document, str(path))


def parse_published_images(document: Mapping[str, Any], where: str) -> dict[str, PublishedImage]:
    """Read the table from parsed TOML.

    Raises:
        ImageError: A key is unknown or missing, or a value is not what it must be.
    """
    if document.get("schema_version") != _SCHEMA_VERSION:
        raise ImageError(f"{where}: schema_version must be {_SCHEMA_VERSION}")
    flat: dict[str, Any] = {}
    for name, value in document.items():
        if name == "engine" and isinstance(value, dict):
            flat.update({f"engine.{device}": entry for device, entry in value.items()})
        elif name != "schema_version":
            flat[name] = value
    unknown, missing = sorted(flat.keys() - _NAMES), sorted(_NAMES - flat.keys())
    if unknown or missing:
        named = [f"`{name}` is unknown" for name in unknown] + [f"`{name}` is missing" for name in missing]
        raise ImageError(f"{where}: {', '.join(named)}")
    return {name: _parse_entry(entry, f"{where}: {name}") for name, entry in flat.items()}


def build_reference(
    service: str,
    device: Device,
    overrides: Mapping[str, str | None],
    published: Mapping[str, PublishedImage],
) -> WantedImage:
    """Say what a service runs.

    Args:
        service: the Compose service, `engine` or `prometheus`.
        device: What the engine computes on; never `auto` any more.
        overrides: References named in the config, by service; they are never replaced.
        published: The table.

    Raises:
        ImageError: A reference in the config is none, or the service has no image.
    """
    named = overrides.get(service)
    if named:
        return WantedImage(service, parse_reference(named), None)
    name = f"engine.{device}" if service == "engine" else _SERVICE_IMAGES.get(service, service)
    entry = published.get(name)
    if entry is None:
        raise ImageError(f"no image is known for the service `{service}` on {device}")
    return WantedImage(service, entry.reference, entry)


def _parse_entry(entry: Any, where: str) -> PublishedImage:
    if not isinstance(entry, dict):
        raise ImageError(f"{where} must be a table")
    known = {field.name for field in fields(PublishedImage)}
    unknown = sorted(entry.keys() - known)
    missing = sorted({"repository", "tag", "version"} - entry.keys())
    if unknown or missing:
        named = [f"`{key}` is unknown" for key in unknown] + [f"`{key}` is missing" for key in missing]
        raise ImageError(f"{where}: {', '.join(named)}")
    for key, value in entry.items():
        wanted = list if key.endswith("recorded_in") else str
        if not isinstance(value, wanted) or (wanted is list and not all(isinstance(v, str) for v in value)):
            raise ImageError(f"{where}.{key} must be {'a list of strings' if wanted is list else 'a string'}")
    lists = {key: tuple(entry.get(key, ())) for key in ("recorded_in", "commit_recorded_in")}
    image = PublishedImage(**(entry | lists))
    _check_entry(image, where)
    return image


def _check_entry(image: PublishedImage, where: str) -> None:
    reference = parse_reference(f"{image.repository}:{image.tag}")
    if reference.name != image.repository:
        raise ImageError(f"{where}.repository must be written in full: `{reference.name}`")
    if image.digest is not None:
        check_digest(image.digest, within=where)
        records = {record.partition(" ")[0] for record in image.recorded_in}
        owners = {record.partition("/")[0] if "/" in record else record for record in records}
        if len(owners) < _RECORDS_NEEDED:
            raise ImageError(f"{where}.digest needs {_RECORDS_NEEDED} independent records in recorded_in")
    if image.commit is not None and not (_COMMIT.fullmatch(image.commit) and image.commit_recorded_in):
        raise ImageError(f"{where}.commit must be 40 hex digits, with who recorded it in commit_recorded_in")
