"""Reading a bundle that somebody else may have written: what is in it, before anything is unpacked.

A directory and a file give the same: sizes by path, and the bytes of each. Everything that is no plain file of a
known path is refused here, so nothing behind this module meets a link, a device or a path that climbs out.
"""

from __future__ import annotations

from pathlib import Path

from stack.bundles.directory_source import open_directory
from stack.bundles.file_source import open_file
from stack.bundles.manifest import MOST_BYTES, Bundle, parse_manifest
from stack.bundles.names import MANIFEST_NAME
from stack.bundles.problem import BundleError, DamagedBundleError
from stack.bundles.source import Source

_LOOK = "see that this user may read it, and that its disk is there (`ls -l`, `dmesg`)"


def open_source(where: Path) -> Source:
    """Open a bundle, and list what is in it.

    Raises:
        BundleError: It is none, or cannot be read.
    """
    try:
        if where.is_dir():
            return open_directory(where)
        if where.is_file():
            return open_file(where)
    except OSError as err:
        raise BundleError(f"{err.filename or where} cannot be read: {err.strerror or err}", hint=_LOOK) from err
    raise BundleError(f"there is no bundle {where}", hint=f"`stack bundle save {where}` makes one")


def load_manifest(source: Source) -> Bundle:
    """Read the manifest of an open bundle; nothing else of it is believed before this.

    Raises:
        DamagedBundleError: The bundle holds what no bundle has.
        BundleError: It has no manifest, or not a right one.
    """
    if source.problems:
        raise DamagedBundleError(source.where, source.problems)
    size = source.sizes.get(MANIFEST_NAME)
    if size is None:
        raise BundleError(
            f"{source.where} has no {MANIFEST_NAME}: it is no bundle, or the command that saved it was interrupted",
            hint=f"`stack bundle save {source.where}` goes on where it ended",
        )
    if size > MOST_BYTES:
        raise BundleError(f"{source.where}: {MANIFEST_NAME} has {size} bytes, which no manifest has")
    return parse_manifest(read_whole(source, MANIFEST_NAME), source.where)


def read_whole(source: Source, path: str) -> bytes:
    """Give the bytes of a small file.

    Raises:
        BundleError: It is too large for that, or cut.
    """
    if source.sizes.get(path, 0) > MOST_BYTES:
        raise BundleError(f"{source.where}: {path} is far too large")
    body = b"".join(source.read_pieces(path))
    if len(body) != source.sizes.get(path):
        raise BundleError(f"{source.where}: {path} is cut")
    return body
