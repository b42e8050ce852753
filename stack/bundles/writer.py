"""What a bundle is written with, be it a directory or a file."""

from __future__ import annotations

import contextlib
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from stack.bundles.manifest import Bundle, BundleFile
from stack.progress import Report


class Writer(ABC):
    """One save; use it as a context manager.

    Attributes:
        where: The directory or file.
        before: The manifest of the bundle that was there before and may be added to, or None.
        written_bytes: What was written, without what was there already.
    """

    def __init__(self, where: Path, report: Report) -> None:
        self.where, self._report = where, report
        self.before: Bundle | None = None
        self.written_bytes = 0
        self._files: dict[str, bytes] = {}
        self._stack = contextlib.ExitStack()

    @abstractmethod
    def __enter__(self) -> Self:
        """Take the place, alone, and find what an interrupted save left there."""

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    @abstractmethod
    def has(self, sha256: str) -> int | None:
        """Give the size of a blob that is there, or None."""

    @abstractmethod
    def has_file(self, file: BundleFile) -> bool:
        """Tell whether a file with a name of its own, of the bundle before, is there."""

    @abstractmethod
    def read_blob(self, sha256: str) -> bytes | None:
        """Give the bytes of a small blob that is there, or None."""

    @abstractmethod
    def add_blob(self, pieces: Iterable[bytes], size_bytes: int | None = None, sha256: str | None = None) -> str:
        """Write a blob and give its hash; one that is there is left as it is.

        Args:
            pieces: Its bytes.
            size_bytes: Its size, where that is known.
            sha256: The hash that it must have, where that is known.

        Raises:
            BundleError: Other bytes came, or the disk refuses.
        """

    def add_body(self, body: bytes) -> str:
        """Write a small blob and give its hash; one that is there is left as it is."""
        return self.add_blob([body], len(body), hashlib.sha256(body).hexdigest())

    def add_file(self, path: str, body: bytes) -> str:
        """Remember a small file with a name of its own, which `finish` writes, and give its hash."""
        self._files[path] = body
        return hashlib.sha256(body).hexdigest()

    @abstractmethod
    def finish(self, bundle: Bundle) -> int:
        """Make it the bundle of this manifest, and give the bytes that it takes."""
