"""What a bundle that can be read has, be it a directory or a file: sizes by path, and what no bundle has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from stack.bundles.names import find_collisions, find_path_fault
from stack.bundles.problem import BundleProblem


@dataclass
class Source(ABC):
    """A bundle that can be read, with what lies in it.

    Attributes:
        where: The file or directory.
        sizes: Every file's size by its path, the manifest's too.
        problems: What no bundle has.
    """

    where: Path
    sizes: dict[str, int] = field(default_factory=dict)
    problems: list[BundleProblem] = field(default_factory=list)

    @abstractmethod
    def read_pieces(self, path: str) -> Iterator[bytes]:
        """Give a file's bytes, no more than its size; fewer where it is cut."""

    def add(self, path: str, size_bytes: int) -> None:
        """Take a file in, or say why none can be there."""
        fault = find_path_fault(path)
        if fault is not None:
            self.problems.append(BundleProblem(path, "extra" if "no part" in fault else "refused", fault))
        elif path in self.sizes:
            self.problems.append(BundleProblem(path, "refused", "is there twice"))
        else:
            self.sizes[path] = size_bytes

    def add_collisions(self) -> None:
        """Say which of all files have names that are one on some file systems."""
        for path in find_collisions(self.sizes):
            said = "has a name that another file has on some file systems"
            self.problems.append(BundleProblem(path, "refused", said))
