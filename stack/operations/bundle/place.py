"""Where a bundle's model belongs on the shared volume.

The volume is shared: what lies under a hub model's id and revision is what every project takes for it. So a bundle's
hub model goes there only where this machine knows the hashes of its files, from a stack.lock of its own or because it
has that snapshot. Any other, and a directory of whoever saved it, becomes a directory of the volume's own,
`carried/<digest over all files>/<name>`, which only the received stack.toml names. The demo model's hashes are known.
"""

from __future__ import annotations

from pathlib import Path

from stack.bundles.manifest import Bundle
from stack.bundles.names import build_blob_path
from stack.bundles.problem import BundleError
from stack.errors import ModelError
from stack.models.demo import DEMO_FILES, DEMO_KEY
from stack.models.reference import parse_model_reference
from stack.models.snapshot import (
    FileRecord,
    Snapshot,
    SnapshotKey,
    build_content_revision,
    build_snapshot_folder,
    load_snapshot,
)

_CARRIED = "carried"
_ANEW = "whoever saved it saves it anew (`stack bundle save`); nothing of it was used"


def place_model(bundle: Bundle, volume: Path) -> Path:
    """Give the directory of the bundle's own that its model gets on the volume.

    Raises:
        BundleError: It says to be what it is not.
    """
    model, records = bundle.model, _check_model(bundle)
    name = model.id.replace("/", "--") if model.kind == "hub" else model.id
    if "/" in name or name in ("", ".", "..") or not name.isprintable():
        raise BundleError(f"the bundle's model has the name `{model.id}`, which no directory has", hint=_ANEW)
    return volume / _CARRIED / build_content_revision(records).removeprefix("sha256:") / name


def has_model(bundle: Bundle, volume: Path) -> bool:
    """Tell whether the volume has the very files of the bundle's hub model under its id and revision.

    Raises:
        StackError: The bundle's model is not what it says to be, or the volume cannot be read.
    """
    snapshot = build_received(bundle, volume, None)
    found = load_snapshot(build_snapshot_folder(volume, snapshot.key))
    return found is not None and (found.key, found.files) == (snapshot.key, snapshot.files)


def _check_model(bundle: Bundle) -> tuple[FileRecord, ...]:
    """Give the files of a bundle's model, sorted by name.

    Raises:
        BundleError: It says to be what it is not.
    """
    model, files = bundle.model, bundle.list_part("model")
    records = tuple(sorted((FileRecord(f.name, f.size_bytes, f.sha256) for f in files), key=lambda item: item.name))
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
    if not is_right or not records or any(file.path != build_blob_path(file.sha256) for file in files):
        raise BundleError(
            f"the bundle's model is not what it says to be ({model.id} at {model.revision[:19]})", hint=_ANEW
        )
    return records


def build_received(bundle: Bundle, volume: Path, place: Path | None) -> Snapshot:
    """Give the snapshot that a bundle's model will be.

    Args:
        bundle: The manifest.
        volume: The shared volume.
        place: The directory of its own that it gets there; None puts it under its id and revision.

    Raises:
        BundleError: It says to be what it is not.
    """
    model, records = bundle.model, _check_model(bundle)
    if place is None:
        key = SnapshotKey(model.kind, model.id, model.revision)
    else:
        key = SnapshotKey("directory", str(place), build_content_revision(records))
    path = place or build_snapshot_folder(volume, key) / "files"
    return Snapshot(
        kind=key.kind,
        id=key.id,
        revision=key.revision,
        path=path,
        files=records,
        served_name=place.name if place is not None else model.id,
        mount_root=path,
    )


def _is_hub_id(text: str) -> bool:
    try:
        return parse_model_reference(text).kind == "hub"
    except ModelError:
        return False
