"""Snapshots and their manifests: what lies on the shared volume, where, and how it was when it landed.

<volume>/hub/<org>--<name>/<commit>/files/…       what the engine sees
<volume>/hub/<org>--<name>/<commit>/snapshot.json the manifest, out of the engine's sight
<volume>/demo/<name>/<digest>/…                   the same
<volume>/directory/<digest of the path>/snapshot.json   only the manifest; the files stay where they are
<volume>/.staging/<key>/                          what is on its way
<volume>/.locks/<key>.lock                        held while it is
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, cast

from stack.errors import ModelError
from stack.models.reference import Kind

SCHEMA_VERSION = 1
MANIFEST_NAME = "snapshot.json"
FILES_NAME = "files"
STAGING_NAME = ".staging"
LOCKS_NAME = ".locks"


@dataclass(frozen=True)
class FileRecord:
    """One file of a snapshot: its path inside it (with `/`), its size and its hash in hex."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class FileStat:
    """How a file looked when it was last hashed; a difference means that it must be hashed again."""

    size_bytes: int
    mtime_ns: int
    inode: int


class SnapshotKey(NamedTuple):
    """What names a snapshot on every machine; for a directory `id` is its path and `revision` is not used."""

    kind: Kind
    id: str
    revision: str


@dataclass(frozen=True)
class Snapshot:
    """A model's files, hashed, in one place.

    Attributes:
        kind: Where it came from.
        id: The hub id, the directory's path, or the demo model's name.
        revision: The hub's commit (40 hex), or `sha256:` and the digest over all files.
        path: The directory with the files.
        files: Every file that counts, sorted by name.
        served_name: What the engine calls the model unless the config says otherwise.
        mount_root: What to mount so that every link inside `path` leads somewhere; mostly `path` itself.
        stats: How each file looked when it was last hashed.
    """

    kind: Kind
    id: str
    revision: str
    path: Path
    files: tuple[FileRecord, ...]
    served_name: str
    mount_root: Path
    stats: Mapping[str, FileStat] = field(compare=False, repr=False, default_factory=dict)

    @property
    def key(self) -> SnapshotKey:
        """Give what names this snapshot."""
        return SnapshotKey(self.kind, self.id, self.revision)

    @property
    def size_bytes(self) -> int:
        """Give the size of all files together."""
        return sum(record.size_bytes for record in self.files)

    @property
    def weights_bytes(self) -> int:
        """Give the size of the safetensors files together."""
        return sum(record.size_bytes for record in self.files if record.name.endswith(".safetensors"))

    @property
    def path_in_mount(self) -> PurePosixPath:
        """Give where the files lie below `mount_root` (`.` when it is the same directory)."""
        return PurePosixPath(self.path.relative_to(self.mount_root).as_posix())


def build_content_revision(files: Iterable[FileRecord]) -> str:
    """Give `sha256:<64 hex>` over names, sizes and hashes, the same on every machine for the same files."""
    rows = [[record.name, record.size_bytes, record.sha256] for record in sorted(files, key=_by_name)]
    text = json.dumps(rows, separators=(",", ":"), ensure_ascii=True)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def build_key_text(key: SnapshotKey) -> str:
    """Give a file name that belongs to this key alone, for its lock and its staging directory."""
    if key.kind == "directory":
        return f"directory--{_path_digest(key.id)}"
    return f"{key.kind}--{key.id.replace('/', '--')}--{key.revision.removeprefix('sha256:')}"


def build_snapshot_folder(volume: Path, key: SnapshotKey) -> Path:
    """Give the folder that holds the manifest, and (but for a directory) the files."""
    if key.kind == "directory":
        return volume / "directory" / _path_digest(key.id)
    return volume / key.kind / key.id.replace("/", "--") / key.revision.removeprefix("sha256:")


def build_staging_folder(volume: Path, key: SnapshotKey) -> Path:
    """Give the folder in which the snapshot is put together."""
    return volume / STAGING_NAME / build_key_text(key)


def build_lock_path(volume: Path, key: SnapshotKey) -> Path:
    """Give the file that is locked while the snapshot is put together or removed."""
    return volume / LOCKS_NAME / f"{build_key_text(key)}.lock"


def is_safe_name(name: str) -> bool:
    """Tell whether a file name that came from elsewhere stays inside the directory it is joined to."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\x00" not in name


def render_manifest(snapshot: Snapshot) -> str:
    """Give the manifest as JSON text."""
    rows = []
    for record in snapshot.files:
        row: dict[str, Any] = {
            "name": record.name,
            "size_bytes": record.size_bytes,
            "sha256": record.sha256,
        }
        if stat := snapshot.stats.get(record.name):
            row |= {"mtime_ns": stat.mtime_ns, "inode": stat.inode}
        rows.append(row)
    document = {
        "schema_version": SCHEMA_VERSION,
        "kind": snapshot.kind,
        "id": snapshot.id,
        "revision": snapshot.revision,
        "served_name": snapshot.served_name,
        "files": rows,
    }
    if snapshot.kind == "directory":
        document |= {"path": str(snapshot.path), "mount_root": str(snapshot.mount_root)}
    return json.dumps(document, indent=1) + "\n"


def parse_manifest(text: str, folder: Path) -> Snapshot:
    """Turn the JSON of a manifest in `folder` into the snapshot.

    Raises:
        ModelError: It is not a manifest, or one of a newer tool.
    """
    try:
        document = json.loads(text)
        version = document["schema_version"]
        if version != SCHEMA_VERSION:
            raise ModelError(
                f"{folder / MANIFEST_NAME} has schema_version {version}, this tool reads {SCHEMA_VERSION}",
                hint="use the newer `stack` that wrote it, or another `model.volume`",
            )
        return _build_snapshot(document, folder)
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{folder / MANIFEST_NAME} is not a manifest ({error!r})",
            hint=f"remove {folder} and run `stack warm`",
        ) from error


def load_snapshot(folder: Path) -> Snapshot | None:
    """Read the snapshot whose manifest lies in `folder`, or None when none landed there.

    Raises:
        ModelError: The manifest cannot be read.
    """
    try:
        text = (folder / MANIFEST_NAME).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"cannot read {folder / MANIFEST_NAME}: {error}") from error
    return parse_manifest(text, folder)


def _build_snapshot(document: dict[str, Any], folder: Path) -> Snapshot:
    rows = document["files"]
    if unsafe := [row["name"] for row in rows if not is_safe_name(row["name"])]:
        raise ValueError(f"unsafe file name {unsafe[0]!r}")
    path = Path(document.get("path", folder / FILES_NAME))
    return Snapshot(
        kind=cast(Kind, document["kind"]),
        id=document["id"],
        revision=document["revision"],
        path=path,
        files=tuple(FileRecord(row["name"], int(row["size_bytes"]), row["sha256"]) for row in rows),
        served_name=document["served_name"],
        mount_root=Path(document.get("mount_root", path)),
        stats={
            row["name"]: FileStat(int(row["size_bytes"]), int(row["mtime_ns"]), int(row["inode"]))
            for row in rows
            if "inode" in row
        },
    )


def _path_digest(path: str) -> str:
    return hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _by_name(record: FileRecord) -> str:
    return record.name
