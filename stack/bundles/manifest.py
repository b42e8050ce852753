"""What `bundle.json` says: every file with its hash, and what the files are together (pure)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from stack.bundles.names import MANIFEST_NAME, build_blob_path, find_collisions, find_name_fault, find_path_fault
from stack.bundles.problem import BundleError

SCHEMA_VERSION = 1
MOST_BYTES = 64 * 1024**2
"""A manifest is read into memory: more than that is none."""

Part = Literal["image", "model", "config", "lock", "history", "cache", "tool"]
Level = Literal["verified", "claimed", "unknown"]


def _check_path(path: str) -> str:
    if fault := find_path_fault(path):
        raise ValueError(f"`{path}` {fault}")
    return path


def _check_name(name: str) -> str:
    if fault := find_name_fault(name):
        raise ValueError(f"`{name}` {fault}")
    return name


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Word = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,512}$")]


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())


class BundleFile(_Said):
    """One file of a bundle. Two may have one path: the same bytes under two names.

    Attributes:
        path: Where it lies in the bundle.
        part: What it belongs to.
        name: What it is there: a model file's path in its snapshot, the service of an image's blob.
        size_bytes: Its size.
        sha256: The hash of its bytes.
    """

    path: Annotated[str, AfterValidator(_check_path)]
    part: Part
    name: Annotated[str, AfterValidator(_check_name)]
    size_bytes: int = Field(ge=0)
    sha256: Sha256


class BundleImage(_Said):
    """The image of one service.

    Attributes:
        service: The Compose service.
        name: What config and lock call it, with its tag and without its digest.
        digest: The registry's digest, where `proof` shows that `image_id` is what it stands for; else None.
        image_id: The digest of its config; Docker's classic store shows it as the image ID.
        manifest: The OCI manifest among the blobs that names its config and layers.
        proof: The registry's index and manifest among the blobs, from `digest` down.
        commit: The vLLM commit that whoever saved it took it for.
        level: What that was worth to whoever saved it.
    """

    service: Word
    name: Word
    digest: Digest | None = None
    image_id: Digest
    manifest: Digest
    proof: tuple[Digest, ...] = Field(default=(), strict=False)
    commit: Word | None = None
    level: Level = "unknown"


class BundleModel(_Said):
    """Which model the files of the part `model` are.

    Attributes:
        kind: `hub`, `demo` or `directory`.
        id: The hub id, or a name.
        revision: The hub's commit, or the digest over all files.
        served_name: What the engine calls it unless the config says otherwise.
    """

    kind: Literal["hub", "demo", "directory"]
    id: Word
    revision: Annotated[str, Field(pattern=r"^([0-9a-f]{40}|sha256:[0-9a-f]{64})$")]
    served_name: Word


class Bundle(_Said):
    """The manifest.

    Attributes:
        schema_version: Version of this form.
        tool_version: The version of `stack` that wrote it.
        created: When (RFC 3339).
        project: The project that was saved.
        platform: `linux/amd64`, `linux/arm64` ….
        device: `cpu` or `cuda`.
        images: The image of each service.
        model: The model.
        tool: What the part `tool` holds, for recognising the same again; None where it was left out.
        left_out: Keys of the configuration that are true on the saving machine only.
        files: Every file but the manifest itself.
    """

    schema_version: int = SCHEMA_VERSION
    tool_version: Word
    created: Word
    project: Word
    platform: Word
    device: Literal["cpu", "cuda"]
    images: tuple[BundleImage, ...] = Field(default=(), strict=False)
    model: BundleModel
    tool: Word | None = None
    left_out: tuple[Word, ...] = Field(default=(), strict=False)
    files: tuple[BundleFile, ...] = Field(strict=False)

    @property
    def paths(self) -> dict[str, BundleFile]:
        """Give every file once, by its path."""
        return {file.path: file for file in self.files}

    @property
    def size_bytes(self) -> int:
        """Give what all files take."""
        return sum(file.size_bytes for file in self.paths.values())

    def list_part(self, part: Part) -> list[BundleFile]:
        """List the files of a part."""
        return [file for file in self.files if file.part == part]

    def find_blob(self, digest: str) -> BundleFile:
        """Give the blob of a digest.

        Raises:
            BundleError: There is none.
        """
        found = self.paths.get(build_blob_path(digest.removeprefix("sha256:")))
        if found is None:
            raise BundleError(f"the bundle's manifest names the blob {digest}, which no file of it is")
        return found


def render_manifest(bundle: Bundle) -> str:
    """Give the text of a manifest."""
    return json.dumps(bundle.model_dump(mode="json"), indent=1) + "\n"


def parse_manifest(text: bytes, where: object) -> Bundle:
    """Read a manifest, which anybody may have written.

    Raises:
        BundleError: It is none, is of a newer `stack`, or contradicts itself.
    """
    try:
        document = json.loads(text)
        version = document["schema_version"]
    except (ValueError, KeyError, TypeError, RecursionError) as err:
        raise BundleError(f"{where}: {MANIFEST_NAME} is no manifest of a bundle") from err
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise BundleError(
            f"{where} was written by a newer `stack` (form {version}; this one reads {SCHEMA_VERSION})",
            hint="update `stack` from where you got it; nothing of the bundle itself may be run for that",
        )
    try:
        bundle = Bundle.model_validate(document)
    except ValidationError as err:
        first = err.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise BundleError(f"{where}: {MANIFEST_NAME} cannot be used: {place}: {first['msg']}") from err
    _check(bundle, where)
    return bundle


def _check(bundle: Bundle, where: object) -> None:
    faults = list(_find_faults(bundle))
    if faults:
        raise BundleError(f"{where}: {MANIFEST_NAME} contradicts itself: {faults[0]}")


def _find_faults(bundle: Bundle) -> Iterable[str]:
    paths = bundle.paths
    for file in bundle.files:
        first = paths[file.path]
        if (first.size_bytes, first.sha256) != (file.size_bytes, file.sha256):
            yield f"{file.path} is said to have two contents"
        if file.path.startswith("blobs/") and file.path != build_blob_path(file.sha256):
            yield f"{file.path} is not named by its hash"
        if file.path == MANIFEST_NAME:
            yield "it names itself"
    for part in ("model", "cache"):
        names = [file.name for file in bundle.list_part(part)]
        for name in find_collisions(names):
            yield f"the {part} has two files `{name}`"
    services = [image.service for image in bundle.images]
    if len(set(services)) != len(services):
        yield "a service has two images"
    for part in ("config", "lock", "history"):
        if len(bundle.list_part(part)) > 1:
            yield f"it has two files of the part {part}"
    for image in bundle.images:
        for digest in (image.image_id, image.manifest, *image.proof):
            if build_blob_path(digest.removeprefix("sha256:")) not in paths:
                yield f"the image of {image.service} names {digest}, which is not there"
