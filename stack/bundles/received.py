"""Image documents of a bundle that anybody may have written, held against the form that they must have (pure).

Source: the OCI image specification (image-index.md, manifest.md, config.md) and its Docker forebears. What it lets
a document have beside this is of no use here, and is neither read nor refused.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stack.bundles.manifest import Digest, Word
from stack.bundles.problem import BundleError

_MOST_ENTRIES = 10_000


class _Read(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")


class _Descriptor(_Read):
    digest: Digest
    size: int = Field(default=0, ge=0, lt=2**63)
    urls: list[Word] | None = Field(default=None, max_length=_MOST_ENTRIES)


_Descriptors = Annotated[list[_Descriptor], Field(max_length=_MOST_ENTRIES)]


class _Index(_Read):
    mediaType: Word | None = None  # noqa: N815 (the specification's own name)
    manifests: _Descriptors


class _Manifest(_Read):
    mediaType: Word | None = None  # noqa: N815
    config: _Descriptor
    layers: _Descriptors


class _Layers(_Read):
    diff_ids: list[Digest] = Field(default=[], max_length=_MOST_ENTRIES)


class _Config(_Read):
    rootfs: _Layers


def check_image_document(body: bytes, what: str) -> None:
    """Hold an index or a manifest against its form.

    Args:
        body: Its bytes.
        what: What it is, for people.

    Raises:
        BundleError: It has another.
    """
    document = _parse(body, what)
    is_index = isinstance(document, dict) and "manifests" in document and "layers" not in document
    _check(_Index if is_index else _Manifest, document, what)


def parse_diff_ids(body: bytes, what: str) -> list[str]:
    """Give the `diff_id` of each layer that an image's config names.

    Raises:
        BundleError: It is no config of an image.
    """
    return _check(_Config, _parse(body, what), what).rootfs.diff_ids


def _parse(body: bytes, what: str) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as err:
        raise BundleError(f"the bundle's {what} is no JSON that can be read") from err


def _check(form: type[Any], document: Any, what: str) -> Any:
    try:
        return form.model_validate(document)
    except ValidationError as err:
        first = err.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise BundleError(f"the bundle's {what} cannot be used: {place}: {first['msg']}".replace(": :", ":")) from err
