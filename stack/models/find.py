"""What of a model is on the shared volume already; asks nobody and changes nothing."""

from __future__ import annotations

from pathlib import Path

from stack.models import demo, hub
from stack.models.reference import DEFAULT_REVISION, ModelReference
from stack.models.snapshot import Snapshot, SnapshotKey, build_snapshot_folder, load_snapshot
from stack.models.verify import FileProblem, check_snapshot


def find_snapshot(reference: ModelReference, *, revision: str | None, volume: Path) -> Snapshot | None:
    """Give the snapshot if it is on the volume and nothing touched it; asks nobody and changes nothing.

    Args:
        reference: The model.
        revision: The locked revision or a full commit; a branch is never found, its commit being unknown.
        volume: The shared volume.

    Raises:
        ModelError: A manifest cannot be read.
    """
    found = _load_recorded(reference, revision, volume)
    return None if found is None or check_snapshot(found) else found


def find_damage(reference: ModelReference, *, revision: str | None, volume: Path) -> list[FileProblem] | None:
    """Name the files that only another fetch can bring back; None where the snapshot never landed.

    Raises:
        ModelError: A manifest cannot be read.
    """
    found = _load_recorded(reference, revision, volume)
    # What was merely touched is settled by its hash.
    return [problem for problem in check_snapshot(found) if problem.state != "touched"] if found is not None else None


def _load_recorded(reference: ModelReference, revision: str | None, volume: Path) -> Snapshot | None:
    if reference.kind == "demo":
        key = demo.DEMO_KEY
    elif reference.kind == "directory":
        key = SnapshotKey("directory", str(reference.path.absolute() if reference.path else reference.id), "")
    else:
        key = SnapshotKey("hub", reference.id, revision or DEFAULT_REVISION)
        if not hub.is_commit(key.revision):
            return None
    found = load_snapshot(build_snapshot_folder(volume, key))
    return None if found is None or (revision is not None and found.revision != revision) else found
