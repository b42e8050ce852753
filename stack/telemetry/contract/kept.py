"""The inventories that are shipped, one for each release that was captured, and which of them stands for a version."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from stack.assets import asset_path
from stack.telemetry.contract.inventory import Inventory, load_inventory

_RELEASE = re.compile(r"v?(\d+)\.(\d+)\.(\d+)(.*)")
# A version in development comes before the release that its number names (PEP 440).
_BEFORE = re.compile(r"[.-]?(a|b|rc|dev)\d")


@dataclass(frozen=True)
class KeptInventory:
    """A shipped inventory.

    Attributes:
        path: Where it lies.
        version: The release that it is of.
        is_exact: Whether that is the release that was asked for, and not the nearest.
    """

    path: Path
    version: str
    is_exact: bool


def find_kept_inventory(wanted: str | None) -> KeptInventory:
    """Give the shipped inventory of a version, else the nearest release's; the newest where none is asked for."""
    paths = _list_paths()
    version, is_exact = choose_version(paths, wanted)
    return KeptInventory(paths[version], version, is_exact)


def load_kept_inventories() -> dict[str, Inventory]:
    """Give every shipped inventory by its version."""
    return {version: load_inventory(path) for version, path in _list_paths().items()}


def choose_version(kept: Collection[str], wanted: str | None) -> tuple[str, bool]:
    """Choose the release that stands for a version: itself, else the newest before it, else the oldest.

    Args:
        kept: The releases that there are.
        wanted: A release or a version in development (`0.32.1.dev7+g0123456`); None takes the newest.

    Returns:
        The release, and whether it is the version that was asked for.
    """
    releases = sorted(kept, key=_read_release)
    match = _RELEASE.fullmatch(wanted) if wanted is not None else None
    if wanted is None or match is None:
        return releases[-1], wanted is None
    asked, suffix = _read_release(wanted), match[4]
    if asked in map(_read_release, releases) and (not suffix or suffix.startswith("+")):
        return next(release for release in releases if _read_release(release) == asked), True
    is_before = _BEFORE.match(suffix) is not None
    older = [one for one in releases if _read_release(one) < asked or (_read_release(one) == asked and not is_before)]
    return (older[-1] if older else releases[0]), False


def _list_paths() -> dict[str, Path]:
    return {path.stem.removeprefix("vllm-"): path for path in asset_path("prometheus", "inventories").glob("*.json")}


def _read_release(version: str) -> tuple[int, ...]:
    match = _RELEASE.fullmatch(version)
    return tuple(int(part) for part in match.groups()[:3]) if match else ()
