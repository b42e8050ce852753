"""What stack.lock holds, as models (pure)."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from stack.config.identity import parse_commit

SCHEMA_VERSION = 1


def _check_sha256(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ValueError("must be 64 lower-case hex digits")
    return text


def _check_digest(text: str) -> str:
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", text):
        raise ValueError("must be `sha256:` and 64 lower-case hex digits")
    return text


def _check_reference(text: str) -> str:
    if re.fullmatch(r"sha256:[0-9a-f]{64}", text):
        raise ValueError("is an image ID, which is true on one machine only")
    return text


def _check_model_id(text: str) -> str:
    if text.startswith(("/", ".", "~")):
        raise ValueError("is a path, which is true on one machine only")
    return text


def _check_file_name(text: str) -> str:
    path = PurePosixPath(text)
    if not text.isprintable() or "\\" in text or path.is_absolute() or ".." in path.parts or not path.parts:
        raise ValueError(f"`{text}` must be a relative path inside the snapshot")
    return text


def _check_package(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", text):
        raise ValueError("is no name of a package")
    return text


class _Locked(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())


class LockedEngine(_Locked):
    """Which vLLM ran."""

    commit: Annotated[str, AfterValidator(parse_commit)] | None = Field(
        default=None, description="Commit, 40 hex digits"
    )
    commit_level: Literal["verified", "claimed", "unknown"] = Field(
        default="unknown", description="What proves the commit"
    )
    version: str | None = Field(default=None, description="vLLM's version text")
    accepted: Literal["verified", "claimed"] = Field(
        default="verified", description="The least level that was accepted for it"
    )
    pinned: str | None = Field(default=None, description="What `stack pin` was asked for; none where `up` chose")
    rests_on: str | None = Field(default=None, description="What the commit of a pin was read from, and what backs it")


class LockedImage(_Locked):
    """One image, for one service and device."""

    reference: Annotated[str, AfterValidator(_check_reference)] = Field(description="Image reference")
    tag: str | None = Field(default=None, description="Tag through which it was found")
    digest: Annotated[str, AfterValidator(_check_digest)] | None = Field(
        default=None, description="Digest that the registry served; none for an image built from packages"
    )
    device: Literal["cuda", "cpu"] | None = Field(default=None, description="Device variant, where there is one")
    source: Literal["registry", "packages"] = Field(description="Where it came from")
    recorded_from: str | None = Field(default=None, description="Who said that tag and digest belong together")
    found_by: str | None = Field(default=None, description="Source that `stack pin` found it by, as in sources.toml")
    variant: str | None = Field(default=None, description="CUDA variant, where it is not upstream's default")
    created: str | None = Field(default=None, description="When the image was built, as its config says")


class LockedFile(_Locked):
    """One file of the model."""

    size_bytes: int = Field(ge=0, description="Size in bytes")
    sha256: Annotated[str, AfterValidator(_check_sha256)] = Field(description="SHA-256 of the content")


class LockedModel(_Locked):
    """The model's revision and files."""

    id: Annotated[str, AfterValidator(_check_model_id)] = Field(description="Hub id, or a name")
    revision: str | None = Field(default=None, description="Commit hash on the hub")
    files: dict[Annotated[str, AfterValidator(_check_file_name)], LockedFile] = Field(
        default={}, description="Files by their path in the snapshot"
    )


class LockedPackage(_Locked):
    """One Python package of an image built here."""

    version: str = Field(description="Version in full")
    sha256: Annotated[str, AfterValidator(_check_sha256)] | None = Field(
        default=None, description="SHA-256 of the file that it came from"
    )


class LockedBuild(_Locked):
    """What an image built from packages came to, so that the next build comes to the same."""

    distribution: str = Field(description="Distribution that the engine is")
    version: str = Field(description="Its version")
    wheel: str | None = Field(default=None, description="URL of its wheel, where it is one of a commit")
    machine: str = Field(description="Architecture that the files are for")
    python: str = Field(description="Python that they are for")
    packages: dict[Annotated[str, AfterValidator(_check_package)], LockedPackage] = Field(
        default={}, description="Everything that pip installed, by name"
    )


class Lock(_Locked):
    """Everything that was resolved.

    Attributes:
        images: By service and variant: `vllm/cpu`, `prometheus`.
    """

    schema_version: int = Field(default=SCHEMA_VERSION, description="Version of this form")
    engine: LockedEngine | None = Field(default=None, description="Which vLLM ran")
    images: dict[str, LockedImage] = Field(default={}, description="Images by service and variant")
    builds: dict[str, LockedBuild] = Field(default={}, description="Packages of images built here, as `images`")
    model: LockedModel | None = Field(default=None, description="The model's revision and files")
