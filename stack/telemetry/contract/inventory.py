"""Which series an engine exports: names, types, labels and bucket bounds, from its page or as it was recorded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from stack.errors import ConfigError, Problem
from stack.telemetry.exposition import Exposition

SCHEMA_VERSION = 1
# What a scrape adds to every series.
SCRAPE_LABELS = frozenset({"job", "instance", "__name__"})
_PARTS = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count", "")}
# Names that any web service exports.
_SHARED = ("http_request", "http_response")
# What setuptools-scm calls a build from a clone without tags.
_NO_TAG = "0.1.dev"


@dataclass(frozen=True)
class SeriesFacts:
    """What is known of one series name.

    Attributes:
        type: `counter`, `gauge`, `histogram` or `summary`: what its family is.
        labels: Its labels, those of the scrape left out.
        bounds: The finite bucket bounds of a histogram, ascending.
    """

    type: str
    labels: frozenset[str] = frozenset()
    bounds: tuple[float, ...] = ()


@dataclass(frozen=True)
class Inventory:
    """The series of one engine version.

    Attributes:
        source: What it was read from, for messages.
        series: What is known of each name.
        prefixes: Whose names it knows all of: a name with another prefix is not its business.
        later: Names that came with a later version than this one, and that version.
        version: The engine's, where it is known.
    """

    source: str
    series: Mapping[str, SeriesFacts] = field(default_factory=dict)
    prefixes: tuple[str, ...] = ("vllm:", *_SHARED)
    later: Mapping[str, str] = field(default_factory=dict)
    version: str | None = None

    @property
    def is_prometheus(self) -> bool:
        """Whether a Prometheus was asked, which knows every name that there is."""
        return "" in self.prefixes

    @cached_property
    def own_labels(self) -> frozenset[str]:
        """Every label of every series of the engine."""
        return frozenset().union(*(facts.labels for facts in self.series.values()))

    def without_shared(self) -> Inventory:
        """Give the inventory for somebody who does not ask for this engine: `http_requests_total` is anybody's."""
        shared = {name: facts for name, facts in self.series.items() if name.startswith(_SHARED)}
        series = {**self.series, **{name: SeriesFacts("unknown") for name in shared}}
        return replace(self, series=series, prefixes=tuple(one for one in self.prefixes if one not in _SHARED))

    def covers(self, name: str) -> bool:
        """Tell whether a name that is not here is a name that does not exist."""
        return name.startswith(self.prefixes)


def build_inventory(page: Exposition, source: str) -> Inventory:
    """Give the inventory of a /metrics page; `_created` series are left out, for nobody queries them."""
    labels: dict[str, set[str]] = {}
    bounds: dict[str, set[float]] = {}
    for sample in page.samples:
        labels.setdefault(sample.name, set()).update(sample.labels)
        if sample.name.endswith("_bucket") and sample.labels.get("le") not in (None, "+Inf"):
            bounds.setdefault(sample.name, set()).add(float(sample.labels["le"]))
    types = dict(_name_types(page))
    series = {
        name: SeriesFacts(types[name], frozenset(found), tuple(sorted(bounds.get(name, ()))))
        for name, found in sorted(labels.items())
        if name in types and not name.endswith("_created")
    }
    return Inventory(source, series)


def build_name_inventory(names: Iterable[str], source: str) -> Inventory:
    """Give an inventory that knows only which names there are, and that there are no others."""
    return Inventory(source, {name: SeriesFacts("unknown") for name in names}, prefixes=("",))


def merge_inventories(first: Inventory, second: Inventory) -> Inventory:
    """Give what either knows; of names that the first one covers, the second one adds none.

    A Prometheus still has the names that an engine exported yesterday.
    """
    others = {name: facts for name, facts in second.series.items() if not first.covers(name)}
    source, prefixes = f"{first.source} and {second.source}", (*first.prefixes, *second.prefixes)
    return replace(first, source=source, series={**others, **first.series}, prefixes=prefixes)


def mark_later(inventory: Inventory, version: str, shipped: Mapping[str, Inventory]) -> Inventory:
    """Give an engine's inventory that knows which names came after its version.

    Args:
        inventory: What it exports.
        version: Its version, `0.31.0`; one that says nothing of its age (`dev`, `0.1.dev1+gabc`) marks none.
        shipped: Inventories by version.
    """
    own = read_version(version)
    if len(own) < 2 or version.startswith(_NO_TAG):
        # It may be of any age: what it lacks is dead, as far as anybody can tell.
        return inventory
    later: dict[str, str] = {}
    for other in sorted(shipped, key=read_version, reverse=True):
        is_newer = read_version(other) > own
        if not is_newer:
            # The nearest version that is no newer: what it had was there already.
            later = {name: since for name, since in later.items() if name not in shipped[other].series}
            break
        later |= dict.fromkeys(shipped[other].series, other)
    return replace(inventory, later=later)


def read_version(text: str) -> tuple[int, ...]:
    """Give the numbers of a version, to compare by; a development version's suffix is left out."""
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def render_inventory(inventory: Inventory, *, version: str, commit: str | None) -> str:
    """Give the inventory as JSON, to be kept with the version that it is of."""
    series = {
        name: {"type": facts.type, "labels": sorted(facts.labels)} | ({"bounds": facts.bounds} if facts.bounds else {})
        for name, facts in inventory.series.items()
        if inventory.covers(name)
    }
    document = {"schema_version": SCHEMA_VERSION, "engine": "vllm", "version": version, "commit": commit}
    return json.dumps({**document, "series": series}, indent=1) + "\n"


def load_inventory(path: Path) -> Inventory:
    """Read an inventory that was kept.

    Raises:
        ConfigError: The file is no inventory, or of a newer format.
    """
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if document["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"format {document['schema_version']}, this tool knows {SCHEMA_VERSION}")
        series = {
            name: SeriesFacts(item["type"], frozenset(item["labels"]), tuple(item.get("bounds", ())))
            for name, item in document["series"].items()
        }
        return Inventory(f"vLLM {document['version']}", series, version=document["version"])
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise ConfigError([Problem(str(path), f"no inventory of metrics: {err}")]) from err


def _name_types(page: Exposition) -> Iterable[tuple[str, str]]:
    for family, kind in page.types.items():
        # The parser names a counter's family without `_total`.
        for suffix in _PARTS.get(kind, ("_total",) if kind == "counter" else ("",)):
            yield f"{family}{suffix}", kind
