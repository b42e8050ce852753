"""The Python packages of an image built here: what an earlier build came to, asked for again and compared. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

_LINE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9._+!-]*")


@dataclass(frozen=True, order=True)
class Package:
    """One installed distribution.

    Attributes:
        name: Its name as package indexes compare names (`jinja2`, `huggingface-hub`).
        version: Its version in full.
        sha256: Hash of the file that it came from; None where there was none, or none was told.
    """

    name: str
    version: str
    sha256: str | None = None


@dataclass(frozen=True)
class PackageSet:
    """Everything that pip installed for one image.

    Attributes:
        machine: Architecture that the files are for (`x86_64`).
        python: Python's version, its first two parts.
        packages: The packages, by name.
    """

    machine: str
    python: str
    packages: tuple[Package, ...]

    def hash(self) -> str:
        """Give what two images have in common whose packages have the same names and versions."""
        lines = "\n".join(f"{item.name}=={item.version}" for item in sorted(self.packages))
        return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"

    def find(self, name: str) -> Package | None:
        """Give a package by its name."""
        return next((item for item in self.packages if item.name == name), None)


def render_requirements(locked: PackageSet, machine: str) -> str:
    """Give the requirements that pip is to meet exactly, one a line.

    Files are the same on one architecture only: on another the hashes are left out, and the versions stay.
    """
    lines = []
    for item in sorted(locked.packages):
        line = f"{item.name}=={item.version}"
        if not _LINE.fullmatch(line):
            # It comes from a file that anybody may have written, and pip reads options in such lines.
            raise ValueError(f"`{line}` is no package with a version")
        known = f" --hash=sha256:{item.sha256}" if item.sha256 and machine == locked.machine else ""
        lines.append(f"{line}{known}\n")
    return "".join(lines)


def compare_packages(wanted: Iterable[Package], found: Iterable[Package]) -> list[str]:
    """Say which packages differ, one line each; none where both are the same set."""
    before, after = ({item.name: item for item in packages} for packages in (wanted, found))
    lines = []
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old is None and new is not None:
            lines.append(f"{name} {new.version} is there too")
        elif new is None and old is not None:
            lines.append(f"{name} {old.version} is missing")
        elif old is not None and new is not None and old.version != new.version:
            lines.append(f"{name} is {new.version} instead of {old.version}")
        elif old is not None and new is not None and _differ(old.sha256, new.sha256):
            lines.append(f"{name} {old.version} came from another file")
    return lines


def find_differences(locked: PackageSet, found: PackageSet) -> list[str]:
    """Say where a build came out other than locked; on another architecture the files are others in any case."""
    wanted = locked.packages
    if locked.machine != found.machine:
        wanted = tuple(replace(item, sha256=None) for item in wanted)
    return compare_packages(wanted, found.packages)


def _differ(old: str | None, new: str | None) -> bool:
    return old is not None and new is not None and old != new
