"""Where a bundle is to be written: a directory or a file, and nothing that is somebody else's."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import BinaryIO

from stack.bundles.names import BLOBS
from stack.bundles.open import load_manifest, open_source
from stack.bundles.problem import BundleError
from stack.bundles.tar_format import BLOCK_BYTES, RAW_FRAME_BYTES, parse_header, unwrap_block

FILE_SUFFIXES = (".tar", ".tar.zst")
DRAFT_NAME = "draft"
"""The member under way in a part file: its hash, and so its name, is known only at its end."""

# Whoever writes these wants one file, and would be surprised by a directory of that name.
_COMPRESSED = ".zst .tzst .gz .tgz .bz2 .tbz2 .xz .txz .lz4"
_OTHER_SUFFIXES = (".tar", ".zip", ".7z", ".rar", *_COMPRESSED.split())


def is_file_target(where: Path) -> bool:
    """Tell whether a bundle of this name is one file.

    Raises:
        BundleError: It has the name of an archive that no bundle is.
    """
    if where.name.endswith(FILE_SUFFIXES):
        return True
    if where.name.lower().endswith(_OTHER_SUFFIXES) and not where.is_dir():
        raise BundleError(
            f"{where} has the name of an archive of another kind",
            hint="a bundle is a file that ends in `.tar` or `.tar.zst`, or a directory",
        )
    return where.is_file()


def demand_replaceable(where: Path) -> None:
    """Refuse to replace a file that is no bundle.

    Raises:
        BundleError: It is none, or a directory.
    """
    if where.is_dir():
        raise BundleError(f"{where} is a directory", hint="leave out `.tar` to save to a directory")
    if not where.exists():
        return
    try:
        load_manifest(open_source(where))
    except BundleError as err:
        message = f"{where} is there, and is no whole bundle that could be replaced: {err.message}"
        raise BundleError(message, hint="remove it yourself, or name another file") from err


def demand_own_part(file: BinaryIO, path: Path) -> None:
    """Refuse to write over a part file that no save began: programs that fetch files call theirs the same.

    Raises:
        BundleError: It begins with something else.
    """
    block = os.pread(file.fileno(), RAW_FRAME_BYTES, 0)
    if not block:
        return
    with contextlib.suppress(BundleError):
        header = parse_header(unwrap_block(block) or block[:BLOCK_BYTES], path)
        if header is not None and (header.name == DRAFT_NAME or header.name.startswith(f"{BLOBS}/")):
            return
    raise BundleError(f"{path} is there, and is no part of a save", hint="remove it yourself, or name another file")
