"""What an image built here was made from and came to, as a document that lies in the image itself. Pure.

It names no time and nothing of whoever built it, so that the same build gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stack import __version__
from stack.errors import ImageError
from stack.images.packages import Package, PackageSet
from stack.images.recipe import ImageRecipe
from stack.images.record_form import find_record_fault

RECORD_FILE = "/usr/share/stack/build.json"
# What the engine's installer leaves for the record.
INSTALLED_FILE = "/usr/share/stack/installed.json"
RECORD_LABEL = "dev.stack.build-record"
PACKAGES_LABEL = "dev.stack.packages"

_SCHEMA_VERSION = 1
_ANEW = "build the image anew: remove it (`docker rmi`), then `stack up`"
# Build arguments that say what went in; the others say how, or who.
_INPUTS = ("DISTRIBUTION", "VERSION", "WHEEL", "TORCH", "TORCH_INDEX", "EXCLUDE", "COMMIT")


@dataclass(frozen=True)
class BuiltFiles:
    """What an image's own files say after its build.

    Attributes:
        installed: The installer's document; None for an image without Python packages.
        dpkg_status: The text of dpkg's database.
        debian_version: The release, as the base names it (`12.11`).
    """

    installed: Mapping[str, Any] | None
    dpkg_status: str
    debian_version: str


def build_record(recipe: ImageRecipe, base_id: str, files: BuiltFiles) -> dict[str, Any]:
    """Give the record of a build.

    Args:
        recipe: What was built.
        base_id: The base image's ID.
        files: What the image's own files say.
    """
    arguments = dict(recipe.arguments)
    installed = files.installed or {}
    return {
        "schema_version": _SCHEMA_VERSION,
        "service": recipe.service,
        "recipe": recipe.tag,
        "tool": f"stack {__version__}",
        "inputs": {name.lower(): arguments[name] for name in _INPUTS if arguments.get(name)},
        "wheel": installed.get("wheel"),
        "base": {"image": recipe.base.tag, "id": base_id, "debian": files.debian_version.strip()},
        "machine": installed.get("machine"),
        "python": installed.get("python"),
        "torch": installed.get("torch"),
        "cuda": installed.get("cuda"),
        "packages": installed.get("packages", []),
        "debian_packages": parse_dpkg_status(files.dpkg_status),
    }


def render_record(document: Mapping[str, Any]) -> bytes:
    """Give a record's bytes; the same record gives the same ones."""
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


def hash_record(content: bytes) -> str:
    """Give what the image's label says of its record."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def parse_record(content: bytes, where: str) -> dict[str, Any]:
    """Read a record.

    Raises:
        ImageError: It is none, or of a newer version.
    """
    try:
        document = json.loads(content)
        version = document["schema_version"]
    except (ValueError, KeyError, TypeError, RecursionError) as err:
        raise ImageError(f"the build record of {where} cannot be read: {err}", hint=_ANEW) from err
    if version != _SCHEMA_VERSION:
        raise ImageError(f"the build record of {where} has schema version {version!r:.40}", hint="update `stack`")
    fault = find_record_fault(document)
    if fault is not None:
        raise ImageError(f"the build record of {where} cannot be used: {fault}", hint=_ANEW)
    return dict(document)


def read_package_set(document: Mapping[str, Any]) -> PackageSet | None:
    """Give what pip installed from a record, or None for an image without Python packages."""
    if not document.get("packages"):
        return None
    # What is there without a file came with Debian's Python, or is written by the installer itself.
    packages = tuple(
        Package(item["name"], item["version"], item["sha256"]) for item in document["packages"] if item.get("file")
    )
    return PackageSet(str(document["machine"]), ".".join(str(document["python"]).split(".")[:2]), packages)


def parse_dpkg_status(text: str) -> dict[str, str]:
    """Give the version of each package that dpkg says is installed."""
    found = {}
    for block in text.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Status|Version): (.*)$", block, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed") and {"Package", "Version"} <= fields.keys():
            found[fields["Package"]] = fields["Version"]
    return dict(sorted(found.items()))
