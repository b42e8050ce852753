"""Image references as the registries write them: registry, repository, tag and digest, without guessing more.

Source: the grammar is that of the OCI distribution specification and of `distribution/reference` (a first
part with a dot, a colon or the name `localhost` is a registry; anything else is on Docker Hub, and a single
name there lies in `library/`).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from stack.errors import ImageError

DOCKER_HUB = "docker.io"

_DOCKER_HUB_NAMES = frozenset({DOCKER_HUB, "index.docker.io", "registry-1.docker.io"})
_NAME_LENGTH = 255
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::[0-9]{1,5})?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class ImageReference:
    """A name for an image: where it lies, and a tag, a digest, both or neither.

    Attributes:
        registry: The registry's host, with its port if it has one (`docker.io`, `127.0.0.1:5000`).
        repository: The path inside it (`library/nginx`, `vllm/vllm-openai`).
        tag: A name that may move.
        digest: `sha256:` and 64 hex digits of the manifest; never moves.
    """

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"

    @property
    def name(self) -> str:
        """Registry and repository."""
        return f"{self.registry}/{self.repository}"

    def with_digest(self, digest: str | None) -> ImageReference:
        """Give the same reference pinned to `digest`.

        Raises:
            ImageError: `digest` is none.
        """
        if digest is not None:
            check_digest(digest)
        return replace(self, digest=digest)

    def with_tag(self, tag: str | None) -> ImageReference:
        """Give the same reference with another tag, or without one."""
        return replace(self, tag=tag)


def parse_reference(text: str) -> ImageReference:
    """Read a reference as people write it; `nginx:1.30` becomes `docker.io/library/nginx:1.30`.

    Raises:
        ImageError: The text is no reference.
    """
    rest = text.strip()
    if _DIGEST.fullmatch(rest):
        raise ImageError(
            f"`{text}` is an image ID or a bare digest, not an image reference",
            hint="write it as `registry/repository@sha256:…`",
        )
    if "://" in rest:
        raise ImageError(f"`{text}` is a URL, not an image reference", hint="leave out the `https://`")
    rest, at, digest = rest.partition("@")
    if at:
        check_digest(digest, within=text)
    head, colon, tag = rest.rpartition(":")
    if colon and "/" not in tag:
        rest = head
        if not _TAG.fullmatch(tag):
            raise ImageError(f"`{text}` is not an image reference: `{tag}` is not a tag")
    else:
        tag = ""
    registry, repository = _split_name(rest)
    if not _HOST.fullmatch(registry) or not _REPOSITORY.fullmatch(repository):
        hint = "names are lower case" if rest != rest.lower() else None
        raise ImageError(f"`{text}` is not an image reference: `{rest}` is not a name", hint=hint)
    if len(registry) + 1 + len(repository) > _NAME_LENGTH:
        raise ImageError(f"`{text}` is not an image reference: its name is longer than {_NAME_LENGTH} letters")
    return ImageReference(registry, repository, tag or None, digest or None)


def check_digest(digest: str, *, within: str | None = None) -> str:
    """Give `digest` back if it is one.

    Raises:
        ImageError: It is not `sha256:` and 64 hex digits in lower case.
    """
    if not _DIGEST.fullmatch(digest):
        where = f" in `{within}`" if within else ""
        raise ImageError(f"`{digest}`{where} is not a digest: `sha256:` and 64 hex digits in lower case")
    return digest


def is_digest(text: str) -> bool:
    """Say whether `text` is a sha256 digest (or an image ID, which looks the same)."""
    return bool(_DIGEST.fullmatch(text))


def is_loopback_host(host: str) -> bool:
    """Say whether a host, with or without a port, is this machine: the only place plain HTTP is spoken to."""
    name = host.rsplit("]", 1)[0].lstrip("[") if host.startswith("[") else host.rsplit(":", 1)[0]
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def apply_mirror(reference: ImageReference, mirror: Mapping[str, str]) -> ImageReference:
    """Give the reference to ask for where a mirror stands in for a registry.

    Args:
        reference: The upstream reference.
        mirror: Registry host to mirror host, with a path prefix where the mirror wants one
            (`{"docker.io": "mirror.example:5000/hub"}`).

    Raises:
        ImageError: A mirror is not a host with an optional path.
    """
    hosts = {_normalize_registry(host): target for host, target in mirror.items()}
    target = hosts.get(reference.registry)
    if target is None:
        return reference
    host, _, prefix = target.rstrip("/").partition("/")
    if "://" in target or not _HOST.fullmatch(host) or (prefix and not _REPOSITORY.fullmatch(prefix)):
        raise ImageError(
            f"`{target}` is no mirror of `{reference.registry}`",
            hint="write `images.mirror` as a host and an optional path, without `https://`",
        )
    repository = f"{prefix}/{reference.repository}" if prefix else reference.repository
    return replace(reference, registry=_normalize_registry(host), repository=repository)


def _split_name(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    has_registry = bool(slash) and (first == "localhost" or bool(re.search(r"[.:\[A-Z]", first)))
    registry, repository = (_normalize_registry(first), rest) if has_registry else (DOCKER_HUB, name)
    if registry == DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    return registry, repository


def _normalize_registry(host: str) -> str:
    lower = host.lower()
    return DOCKER_HUB if lower in _DOCKER_HUB_NAMES else lower
