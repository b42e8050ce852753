"""Hashes of files, read in pieces so that memory stays bounded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

CHUNK_BYTES = 4 * 1024 * 1024

OnBytes = Callable[[int], None]


def compute_sha256(path: Path, on_bytes: OnBytes | None = None) -> str:
    """Give a file's SHA-256 in hex; `on_bytes` is told the size of each piece read."""
    return _digest(path, hashlib.sha256(), on_bytes)


def compute_git_blob_sha1(path: Path) -> str:
    r"""Give the id that git (and so the hub) has for a file stored in git itself.

    Source: git's object format, SHA-1 over `blob <size>\0` and the content.
    """
    digest = hashlib.sha1(usedforsecurity=False)
    digest.update(f"blob {path.stat().st_size}\0".encode())
    return _digest(path, digest, None)


def _digest(path: Path, digest: hashlib._Hash, on_bytes: OnBytes | None) -> str:
    buffer = bytearray(CHUNK_BYTES)
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as stream:
        while count := stream.readinto(buffer):
            digest.update(view[:count])
            if on_bytes is not None:
                on_bytes(count)
    return digest.hexdigest()
