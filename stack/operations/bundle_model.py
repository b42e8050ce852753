"""The model of a bundle onto the shared volume: kept beside it while its bytes are hashed, moved there when all fit.

A hub model and the demo model become the snapshot that they are everywhere. A directory of whoever saved it becomes a
directory of the volume's own, `carried/<digest>/<name>`, which the received stack.toml names.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from stack.bundles.manifest import Bundle, BundleFile
from stack.bundles.problem import BundleError
from stack.errors import ModelError
from stack.models.demo import DEMO_FILES, DEMO_KEY
from stack.models.directory import check_model_directory
from stack.models.reference import parse_model_reference
from stack.models.snapshot import (
    FileRecord,
    Snapshot,
    SnapshotKey,
    build_content_revision,
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
from stack.progress import Report

_CARRIED = "carried"


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
        if self.is_here or file.part != "model":
            return
        with translate_os_errors(f"cannot write to {self.volume}"):
            stream = self._open.get(file.sha256)
            if stream is None:
                stream = self._open[file.sha256] = (self.staging / file.sha256).open("wb", buffering=0)
            stream.write(piece)

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
                    os.link(self.staging / file.sha256, target)
                else:
                    target.touch()
            for path in [path for path in self.staging.iterdir() if path.is_file()]:
                path.unlink()
            staged = _at(self.snapshot, files)
            if self.snapshot.kind != "directory":
                return publish(self.volume, staged)
            return self._land_directory(staged)

    def _land_directory(self, staged: Snapshot) -> Snapshot:
        place = self.snapshot.path
        for record in staged.files:
            sync_file(staged.path / record.name)
        make_folder(place.parent)
        remove_tree(self.volume, place)
        staged.path.rename(place)
        shutil.rmtree(self.staging, ignore_errors=True)
        landed = _at(self.snapshot, place)
        check_model_directory(place)
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


def place_model(bundle: Bundle, volume: Path) -> Path | None:
    """Give the directory that a model of the kind `directory` gets on the volume; None for the other kinds.

    Raises:
        BundleError: Its name is none.
    """
    model = bundle.model
    if model.kind != "directory":
        return None
    if "/" in model.id or model.id in ("", ".", "..") or not model.id.isprintable():
        raise BundleError(f"the bundle's model has the name `{model.id}`, which no directory has")
    return volume / _CARRIED / model.revision.removeprefix("sha256:")[:12] / model.id


def _build_snapshot(bundle: Bundle, volume: Path) -> Snapshot:
    """Give the snapshot that a bundle's model will be.

    Raises:
        BundleError: It says to be what it is not.
    """
    model = bundle.model
    files = [FileRecord(file.name, file.size_bytes, file.sha256) for file in bundle.list_part("model")]
    records = tuple(sorted(files, key=lambda record: record.name))
    place = place_model(bundle, volume)
    if model.kind == "hub":
        is_right = len(model.revision) == 40 and _is_hub_id(model.id)
    else:
        is_right = model.revision == build_content_revision(records)
    if model.kind == "demo":
        is_right = (
            is_right
            and (model.id, model.revision) == (DEMO_KEY.id, DEMO_KEY.revision)
            and (records == tuple(sorted(DEMO_FILES, key=lambda record: record.name)))
        )
    if not is_right or not records:
        raise BundleError(f"the bundle's model is not what it says to be ({model.id} at {model.revision[:19]})")
    key = SnapshotKey(model.kind, str(place) if place else model.id, model.revision)
    path = place or build_snapshot_folder(volume, key) / "files"
    return Snapshot(
        kind=model.kind,
        id=key.id,
        revision=model.revision,
        path=path,
        files=records,
        served_name=model.served_name,
        mount_root=path,
    )


def _is_hub_id(text: str) -> bool:
    try:
        return parse_model_reference(text).kind == "hub"
    except ModelError:
        return False


@contextlib.contextmanager
def receive_model(bundle: Bundle, volume: Path, report: Report) -> Iterator[ReceivedModel]:
    """Give where a bundle's model goes, for nobody but us while the block lasts.

    Raises:
        ModelError: The volume cannot be written, or has other files under that revision.
    """
    snapshot = _build_snapshot(bundle, volume)
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
