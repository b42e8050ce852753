"""Whether every byte of a bundle is what its manifest says."""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import threading
from collections.abc import Callable, Collection
from typing import Protocol

from stack.bundles.manifest import Bundle, BundleFile
from stack.bundles.names import MANIFEST_NAME
from stack.bundles.problem import BundleProblem
from stack.bundles.source import Source

OnBytes = Callable[[int], None]


class Keep(Protocol):
    """Takes the bytes of a file while they are hashed; what it keeps counts only when all of it was right."""

    def __call__(self, file: BundleFile, piece: bytes) -> None:
        """Take the next bytes of a file."""
        ...


def find_differences(source: Source, bundle: Bundle) -> list[BundleProblem]:
    """Compare what is there with what the manifest names, by paths and sizes."""
    wanted = bundle.paths
    problems = []
    for path, file in wanted.items():
        size = source.sizes.get(path)
        label = describe(file)
        if size is None:
            problems.append(BundleProblem(path, "missing", f"({label}) is missing"))
        elif size != file.size_bytes:
            verb = "was cut" if size < file.size_bytes else "has grown"
            said = f"({label}) {verb}: {size} bytes, and {file.size_bytes} are right"
            problems.append(BundleProblem(path, "size", said))
    extra = [path for path in source.sizes if path not in wanted and path != MANIFEST_NAME]
    problems += [BundleProblem(path, "extra", "is named by no manifest") for path in extra]
    return problems


def find_damage(
    source: Source,
    bundle: Bundle,
    *,
    on_bytes: OnBytes = lambda count: None,
    keep: Keep | None = None,
    workers: int | None = None,
    skip: Collection[str] = (),
) -> list[BundleProblem]:
    """Hash every file, several side by side, and name each that is not what the manifest says.

    Memory stays bounded: a piece at a time for each worker.

    Args:
        source: The bundle.
        bundle: Its manifest.
        on_bytes: Told the size of each piece.
        keep: Given every piece on the way; called from several threads, for one file always from the same.
        workers: How many files are read at a time; None takes a number for this machine.
        skip: Paths that are not looked at.
    """
    stopped = threading.Event()
    files = sorted((file for file in bundle.paths.values() if file.path not in skip), key=lambda f: -f.size_bytes)

    def check(file: BundleFile) -> BundleProblem | None:
        digest, size = hashlib.sha256(), 0
        try:
            for piece in source.read_pieces(file.path):
                if stopped.is_set():
                    return None
                digest.update(piece)
                size += len(piece)
                on_bytes(len(piece))
                if keep is not None:
                    keep(file, piece)
        except OSError as err:
            return BundleProblem(file.path, "changed", f"({describe(file)}) cannot be read: {err.strerror or err}")
        if digest.hexdigest() != file.sha256 or size != file.size_bytes:
            return BundleProblem(
                file.path, "changed", f"({describe(file)}) holds other bytes than those that were saved"
            )
        return None

    pool = concurrent.futures.ThreadPoolExecutor(workers or min(4, os.cpu_count() or 1), thread_name_prefix="verify")
    try:
        found = list(pool.map(check, files))
    finally:
        stopped.set()
        pool.shutdown(wait=True, cancel_futures=True)
    return sorted((problem for problem in found if problem is not None), key=lambda problem: problem.path)


def describe(file: BundleFile) -> str:
    """Say what a file is, in words."""
    return f"{file.part} {file.name}" if file.name != file.path else file.part
