"""Whether a directory is a bundle's and nothing else's, and what an interrupted save to it left.

DIR/partial/lock          held while the directory is written
DIR/partial/bundle.json   the older manifest, while files that it names by name are replaced
DIR/partial/written       paths that no whole manifest names yet or any more, a line each
DIR/partial/draft         a file under way

So every file of the directory is named by a manifest or by that list. One that is not is somebody else's, and
then nothing is written there and nothing removed.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from stack.bundles.manifest import MOST_BYTES, Bundle, parse_manifest
from stack.bundles.names import MANIFEST_NAME, PARTIAL_NAME, find_path_fault
from stack.bundles.open import open_source
from stack.bundles.problem import BundleError

_LOCK, _WRITTEN, _DRAFT = "lock", "written", "draft"
_TOP = {MANIFEST_NAME, PARTIAL_NAME, "oci-layout", "index.json", "blobs", "tool"}
_HINT = "name a new or an empty directory, or take out what is no part of a bundle"


class Partial:
    """What a save to a directory keeps there until it is done.

    Args:
        where: The bundle's directory.
    """

    def __init__(self, where: Path) -> None:
        self._where, self._path = where, where / PARTIAL_NAME
        self.lock, self.draft, self.manifest = self._path / _LOCK, self._path / _DRAFT, self._path / MANIFEST_NAME
        self._written = self._path / _WRITTEN

    def note(self, paths: Iterable[str]) -> None:
        """Remember that these files are the bundle's own, also after a crash, before they are written."""
        lines = "".join(f"{path}\n" for path in paths)
        if not lines:
            return
        with self._written.open("ab") as file:
            # The line that a crash cut names no file that is there, and must not spoil the next.
            file.write(f"\n{lines}".encode())
            file.flush()
            os.fsync(file.fileno())

    def list_noted(self) -> set[str]:
        """Give the remembered files."""
        try:
            lines = self._written.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return set()
        return {line for line in lines if find_path_fault(line) is None}

    def remove(self) -> None:
        """Forget everything: the save is done."""
        for path in (self.manifest, self._written, self.draft):
            path.unlink(missing_ok=True)

    def let_go(self) -> None:
        """Take the lock's file away while it is held, and the folder if nothing is left to go on from."""
        with contextlib.suppress(OSError):
            self.lock.unlink()
            self._path.rmdir()


def demand_bundle(where: Path) -> Bundle | None:
    """Give the manifest of the bundle in a directory; None where it is empty, missing, or a save to it was interrupted.

    Raises:
        BundleError: It holds anything else.
    """
    if not where.is_dir():
        return None
    names = {path.name for path in where.iterdir()}
    if names and not names & {MANIFEST_NAME, PARTIAL_NAME}:
        raise BundleError(f"{where} is not empty, and holds no bundle", hint=_HINT)
    _demand(where, names - _TOP)
    partial = where / PARTIAL_NAME
    if PARTIAL_NAME in names:
        is_folder = stat.S_ISDIR(partial.lstat().st_mode)
        known = {_LOCK, _WRITTEN, _DRAFT, MANIFEST_NAME}
        inside = {path.name for path in partial.iterdir()} - known if is_folder else {""}
        _demand(where, {f"{PARTIAL_NAME}/{name}" for name in inside})
    _demand(where, {problem.path for problem in open_source(where).problems})
    return _read_manifest(where / MANIFEST_NAME, where)


def find_own(where: Path, partial: Partial) -> tuple[Bundle | None, set[str]]:
    """Give the last whole manifest of a directory that this process holds, and the paths that are the bundle's own.

    Raises:
        BundleError: It holds anything else.
    """
    now, older = demand_bundle(where), _read_manifest(partial.manifest, where)
    own = partial.list_noted() | {MANIFEST_NAME}
    for bundle in (now, older):
        own |= set(bundle.paths) if bundle is not None else set()
    _demand(where, set(open_source(where).sizes) - own)
    return now or older, own


def _read_manifest(path: Path, where: Path) -> Bundle | None:
    try:
        with path.open("rb") as file:
            return parse_manifest(file.read(MOST_BYTES), where)
    except FileNotFoundError:
        return None


def _demand(where: Path, strange: Iterable[str]) -> None:
    first = min(strange, default=None)
    if first is not None:
        raise BundleError(f"{where} holds `{first}`, which is no part of a bundle that was saved there", hint=_HINT)
