"""Names that came from elsewhere: which a bundle may have, and which of them meet on some file system (pure).

A bundle's own paths are few, so they are listed and everything else is refused. The names of model and cache
files are free, and become paths on this machine: each is looked at, and all of them together, for `A` and `a`,
or two spellings of `é`, are one file on some file systems and two on others.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

MANIFEST_NAME = "bundle.json"
PARTIAL_NAME = "partial"
BLOBS = "blobs/sha256"

_SHA256 = r"[0-9a-f]{64}"
_PATH = re.compile(
    rf"{re.escape(MANIFEST_NAME)}|oci-layout|index\.json|{BLOBS}/{_SHA256}|tool/install|tool/wheels/[A-Za-z0-9_.+-]+\.whl"
)
_LONGEST_NAME_BYTES = 1024
_LONGEST_PART_BYTES = 255


def build_blob_path(sha256: str) -> str:
    """Give where a blob lies in a bundle."""
    return f"{BLOBS}/{sha256}"


def find_path_fault(path: str) -> str | None:
    """Say why a bundle may have no file of this path, or None where it may."""
    fault = find_name_fault(path)
    if fault is not None:
        return fault
    return None if _PATH.fullmatch(path) else "is no part of a bundle"


def find_name_fault(name: str) -> str | None:
    """Say why a name from elsewhere must not become a path here, or None where it may."""
    parts = name.split("/")
    if not name.strip() or not name.isprintable() or "\\" in name:
        return "has a name that is no file's"
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        return "has an absolute path"
    if ".." in parts:
        return "climbs out of the directory"
    if "" in parts or "." in parts or str(PurePosixPath(name)) != name:
        return "has a path that can be written in another way"
    if len(name.encode()) > _LONGEST_NAME_BYTES or any(len(part.encode()) > _LONGEST_PART_BYTES for part in parts):
        return "has too long a name"
    return None


def find_collisions(names: Iterable[str]) -> list[str]:
    """Give the names that are, on some file system, another's, or a folder in another's path."""
    seen: dict[str, str] = {}
    folders: dict[str, str] = {}
    found = []
    for name in names:
        folded = _fold(name)
        above = [str(folder) for folder in PurePosixPath(name).parents if str(folder) != "."]
        is_other = any(_fold(folder) in seen or folders.get(_fold(folder), folder) != folder for folder in above)
        if folded in seen or folded in folders or is_other:
            found.append(name)
        seen[folded] = name
        folders |= {_fold(folder): folder for folder in above}
    return found


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKC", name).casefold())
