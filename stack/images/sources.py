"""Where an engine image of a commit or a release may be: the table `compose/sources.toml` and what is added to it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stack.assets import asset_path
from stack.errors import ImageError
from stack.images.reference import ImageReference, apply_mirror, parse_reference

_SCHEMA_VERSION = 1
_COMMIT = re.compile(r"[0-9a-f]{40}")
_FIELD = re.compile(r"\{([^{}]*)\}")

# What the source of wheels is called in `images.sources` and in the lock.
WHEEL_SOURCE = "wheel"


@dataclass(frozen=True)
class ImageSource:
    """One source of engine images.

    Attributes:
        name: Its name in the table.
        title: What it is called in reports.
        references: References with fields to fill in, by variant; the empty variant holds for all.
        warning: What to know of an image from there.
        keeps: How many nights' tags upstream keeps there; None where none are deleted.
    """

    name: str
    title: str
    references: Mapping[str, str]
    warning: str | None = None
    keeps: int | None = None


@dataclass(frozen=True)
class SourceTable:
    """All sources, best first, and the tags that move.

    Attributes:
        sources: The sources.
        moving: References of tags that move, by name and variant.
    """

    sources: tuple[ImageSource, ...]
    moving: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def find(self, name: str | None) -> ImageSource | None:
        """Give a source by its name."""
        return next((source for source in self.sources if source.name == name), None)


@dataclass(frozen=True)
class Variant:
    """Which of several images of one commit is meant.

    Attributes:
        device: `cuda` or `cpu`.
        cuda: The CUDA variant (`cu129`); None takes upstream's default.
        arch: This machine as upstream's tags name it (`x86_64`, `aarch64`).
    """

    device: str
    cuda: str | None = None
    arch: str = "x86_64"

    def spell(self) -> tuple[str, ...]:
        """Give the names that the tables may have for it, the most exact one first."""
        name = f"{self.device}-{self.cuda}" if self.cuda else self.device
        return (f"{name}-{self.arch}", name, "")


@dataclass(frozen=True)
class Place:
    """A reference that may be an image of what is looked for.

    Attributes:
        source: The source that it is of.
        reference: The reference.
    """

    source: ImageSource
    reference: ImageReference


def load_sources(added: Mapping[str, str] | None = None) -> SourceTable:
    """Read the shipped table, and put what the configuration adds before it.

    Args:
        added: `images.sources`; an entry of a shipped name replaces its references, an empty one takes it out.
    """
    document = tomllib.loads(asset_path("compose", "sources.toml").read_text(encoding="utf-8"))
    return merge_sources(parse_sources(document), added or {})


def parse_sources(document: Mapping[str, Any]) -> SourceTable:
    """Read the table from parsed TOML.

    Raises:
        ImageError: It is of another version.
    """
    if document.get("schema_version") != _SCHEMA_VERSION:
        raise ImageError(f"sources.toml: schema_version must be {_SCHEMA_VERSION}")
    sources = tuple(ImageSource(name=name, **entry) for name, entry in document["source"].items())
    return SourceTable(sources, document["moving"])


def merge_sources(table: SourceTable, added: Mapping[str, str]) -> SourceTable:
    """Put the configuration's sources before the shipped ones, and in the place of those they name.

    That of wheels is no place of images: `load_wheel_host` reads it.
    """
    added = {name: reference for name, reference in added.items() if name != WHEEL_SOURCE}
    names = {source.name for source in table.sources}
    own = [
        ImageSource(name, f"`images.sources.{name}`", {"": reference})
        for name, reference in added.items()
        if name not in names and reference
    ]
    kept = [
        ImageSource(source.name, source.title, {"": added[source.name]}, source.warning, source.keeps)
        if source.name in added
        else source
        for source in table.sources
        if added.get(source.name, source.name)
    ]
    return SourceTable((*own, *kept), table.moving)


def build_places(
    table: SourceTable, variant: Variant, *, commit: str | None = None, version: str | None = None
) -> list[Place]:
    """List the references that may be an image of a commit, of a release, or of a commit that is a release.

    Raises:
        ImageError: `commit` is not 40 hex digits (tags are never abbreviated), or nothing has the CUDA variant.
    """
    if commit is not None and not _COMMIT.fullmatch(commit):
        raise ImageError(f"`{commit}` is not a commit: 40 hex digits are needed")
    known = {"commit": commit, "version": version, "device": variant.device, "arch": variant.arch}
    known["cuda"] = variant.cuda or "default"
    places = []
    for source in table.sources:
        template = _choose(source.references, variant)
        if template is not None and all(known.get(name) for name in _FIELD.findall(template)):
            places.append(Place(source, parse_reference(_fill(template, known))))
    if not places:
        _check_variant(table, variant)
    return places


def find_moving(table: SourceTable, name: str, variant: Variant) -> ImageReference | None:
    """Give the reference of a tag that moves (`nightly`, `latest`), or None where the name is none.

    Raises:
        ImageError: Nothing has the CUDA variant.
    """
    if name not in table.moving:
        return None
    template = _choose(table.moving[name], variant)
    if template is None:
        _check_variant(table, variant)
        raise ImageError(f"upstream has no `{name}` image of the variant `{variant.spell()[1]}`")
    return parse_reference(template)


def list_repositories(table: SourceTable, variant: Variant, mirror: Mapping[str, str]) -> list[ImageReference]:
    """List the repositories of a variant, best first and without tags, each as it is asked for and as it is called."""
    templates = [_choose(source.references, variant) for source in table.sources]
    filled = {"commit": "0" * 40, "version": "0", "device": variant.device, "arch": variant.arch, "cuda": "default"}
    names = [parse_reference(_fill(template, filled)).with_tag(None) for template in templates if template]
    return list(dict.fromkeys(name for upstream in names for name in (upstream, apply_mirror(upstream, mirror))))


def _choose(references: Mapping[str, str], variant: Variant) -> str | None:
    return next((references[key] for key in variant.spell() if key in references), None)


def _fill(template: str, known: Mapping[str, str | None]) -> str:
    return _FIELD.sub(lambda match: known[match[1]] or "", template)


def _check_variant(table: SourceTable, variant: Variant) -> None:
    if variant.cuda is None:
        return
    keys = {key for source in table.sources for key in source.references if key.startswith(f"{variant.device}-")}
    known = sorted(key.removeprefix(f"{variant.device}-") for key in keys)
    named = ", ".join(f"`{name}`" for name in known if name not in ("x86_64", "aarch64")) or "none"
    if variant.device != "cuda" or variant.cuda not in known:
        raise ImageError(
            f"no source has the variant `{variant.cuda}` for {variant.device}; there are: {named}",
            hint="leave out `--cuda` for upstream's default, or name a source of your own in `images.sources`",
        )
