"""Reading a bundle that is a directory."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stack.bundles.files import CHUNK_BYTES
from stack.bundles.names import PARTIAL_NAME
from stack.bundles.problem import BundleProblem
from stack.bundles.source import Source

# `tool/wheels`: a folder in one that lies so deep is not looked into.
_DEEPEST = 2


@dataclass
class DirectorySource(Source):
    """A bundle that is a directory."""

    def read_pieces(self, path: str) -> Iterator[bytes]:
        """Give a file's bytes."""
        # Not through a link that took the file's place since it was listed.
        descriptor = os.open(self.where / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        left = self.sizes[path]
        with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123
            while left and (piece := file.read(min(CHUNK_BYTES, left))):
                left -= len(piece)
                yield piece


def open_directory(where: Path) -> DirectorySource:
    """List what is in a directory, without following a link."""
    source = DirectorySource(where)
    _list_folder(where, "", source)
    source.add_collisions()
    return source


def _list_folder(folder: Path, prefix: str, source: DirectorySource) -> None:
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = f"{prefix}{entry.name}"
            if path == PARTIAL_NAME:
                continue  # of a save that is under way or was interrupted: no part of the bundle
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode) and path.count("/") >= _DEEPEST:
                source.problems.append(BundleProblem(path, "refused", "lies deeper than any folder of a bundle"))
            elif stat.S_ISDIR(mode):
                _list_folder(folder / entry.name, f"{path}/", source)
            elif not stat.S_ISREG(mode):
                what = "a link" if stat.S_ISLNK(mode) else "no plain file"
                source.problems.append(BundleProblem(path, "refused", f"is {what}"))
            else:
                source.add(path, entry.stat(follow_symlinks=False).st_size)
