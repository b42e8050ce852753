"""The model of a bundle onto the shared volume: kept beside it while its bytes are hashed, moved there when all fit."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from stack.bundles.manifest import Bundle, BundleFile
from stack.bundles.names import build_blob_path
from stack.errors import ModelError
from stack.models.directory import check_model_directory
from stack.models.snapshot import (
    Snapshot,
    build_snapshot_folder,
    build_staging_folder,
    load_snapshot,
)
from stack.models.verify import check_snapshot, save_manifest, settle_touched
from stack.models.volume import (
    hold_lock,
    load_file_stats,
    make_folder,
    prepare_staging,
    publish,
    remove_tree,
    sync_file,
    translate_os_errors,
)
from stack.operations.bundle.place import build_received
from stack.progress import Report


@dataclass
class ReceivedModel:
    """The model of a bundle, and where it goes.

    Attributes:
        volume: The shared volume.
        snapshot: The snapshot that it will be.
        is_here: Whether all of it is there already.
        task: What the step is called.
    """

    volume: Path
    snapshot: Snapshot
    is_here: bool
    task: str
    _open: dict[str, BinaryIO] = field(default_factory=dict)
    _hashes: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self._hashes = frozenset(record.sha256 for record in self.snapshot.files)

    @property
    def missing_bytes(self) -> int:
        """What is to be written."""
        return 0 if self.is_here else self.snapshot.size_bytes

    @property
    def staging(self) -> Path:
        """Where it is put together."""
        return build_staging_folder(self.volume, self.snapshot.key)

    def keep(self, file: BundleFile, piece: bytes) -> None:
        """Write the next bytes of one of its files; others are nobody's business here.

        Raises:
            ModelError: The volume cannot be written.
        """
        # A file may have two parts, such as a cache's file that is a model's too: what counts is what it holds.
        if self.is_here or file.path != build_blob_path(file.sha256) or file.sha256 not in self._hashes:
            return
        with translate_os_errors(f"cannot write to {self.volume}"):
            stream = self._open.get(file.sha256)
            if stream is None:
                stream = self._open[file.sha256] = (self.staging / file.sha256).open("wb", buffering=0)
            rest = memoryview(piece)
            while rest:
                # A disk that is nearly full takes a part of it before it refuses.
                rest = rest[stream.write(rest) or 0 :]

    def land(self, bundle: Bundle) -> Snapshot:
        """Put what was kept in its place.

        Raises:
            ModelError: The volume cannot be written.
        """
        if self.is_here:
            return self.snapshot
        self.close()
        files = self.staging / "files"
        with translate_os_errors(f"cannot write to {self.volume}"):
            for file in bundle.list_part("model"):
                target = files / file.name
                make_folder(target.parent)
                target.unlink(missing_ok=True)
                if file.size_bytes:
                    self._check_size(file)
                    os.link(self.staging / file.sha256, target)
                else:
                    target.touch()
            for path in [path for path in self.staging.iterdir() if path.is_file()]:
                path.unlink()
            staged = _at(self.snapshot, files)
            if self.snapshot.kind != "directory":
                return publish(self.volume, staged)
            return self._land_directory(staged)

    def _check_size(self, file: BundleFile) -> None:
        size = (self.staging / file.sha256).stat().st_size
        if size != file.size_bytes:
            raise ModelError(
                f"{file.name} came to {size} bytes on {self.volume}, and {file.size_bytes} were written",
                hint="look at the disk (`dmesg`, `df -h`), then load again; nothing was put in its place",
            )

    def _land_directory(self, staged: Snapshot) -> Snapshot:
        place = self.snapshot.path
        check_model_directory(staged.path)
        for record in staged.files:
            sync_file(staged.path / record.name)
        make_folder(place.parent)
        remove_tree(self.volume, place)
        staged.path.rename(place)
        shutil.rmtree(self.staging, ignore_errors=True)
        landed = _at(self.snapshot, place)
        make_folder(build_snapshot_folder(self.volume, landed.key))
        landed = Snapshot(**{**vars(landed), "stats": load_file_stats(landed)})
        save_manifest(self.volume, landed)
        return landed

    def close(self) -> None:
        """Let go of what is open."""
        for stream in self._open.values():
            stream.close()
        self._open.clear()


def _at(snapshot: Snapshot, path: Path) -> Snapshot:
    return Snapshot(**{**vars(snapshot), "path": path, "mount_root": path})


@contextlib.contextmanager
def receive_model(bundle: Bundle, volume: Path, place: Path | None, report: Report) -> Iterator[ReceivedModel]:
    """Give where a bundle's model goes, for nobody but us while the block lasts.

    Args:
        bundle: The manifest.
        volume: The shared volume.
        place: The directory of its own that it gets there; None puts it under its id and revision.
        report: Told what is waited for.

    Raises:
        ModelError: The volume cannot be written, or has other files under that revision.
    """
    snapshot = build_received(bundle, volume, place)
    task = f"load {bundle.model.id}"
    with hold_lock(volume, snapshot.key, report, task):
        received = ReceivedModel(volume, snapshot, _is_here(volume, snapshot, report), task)
        if not received.is_here:
            with translate_os_errors(f"cannot write to {volume}"):
                prepare_staging(volume, snapshot.key)
        try:
            yield received
        finally:
            received.close()


def _is_here(volume: Path, snapshot: Snapshot, report: Report) -> bool:
    found = load_snapshot(build_snapshot_folder(volume, snapshot.key))
    if found is None:
        return False
    if found.files != snapshot.files and snapshot.kind != "directory":
        raise ModelError(
            f"{volume} has {snapshot.id} at {snapshot.revision[:19]} with other files than the bundle's",
            hint="`stack warm --verify` tells whether those on the volume are right",
        )
    if found.files != snapshot.files:
        return False
    _, problems = settle_touched(volume, found, check_snapshot(found), report)
    return not problems
