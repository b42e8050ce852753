"""What a bundle holds beside images: model, compile caches, texts, the layout's index and the tool."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from stack.bundles.files import read_file_pieces
from stack.bundles.manifest import BundleFile, BundleModel, Part
from stack.bundles.names import build_blob_path, find_name_fault
from stack.bundles.oci import LAYOUT, MANIFEST_TYPE, render_index
from stack.bundles.problem import BundleError
from stack.bundles.writer import Writer
from stack.models.meter import Meter
from stack.models.snapshot import Snapshot
from stack.operations.bundle.save_images import SavedImage
from stack.operations.bundle.tool import build_fingerprint, build_tool_files
from stack.operations.session import Session
from stack.progress import ProgressEvent


def describe_model(snapshot: Snapshot) -> BundleModel:
    """Give what the manifest says of a model."""
    # A directory's path is true on this machine only, its name decides what clients call the model.
    name = Path(snapshot.id).name if snapshot.kind == "directory" else snapshot.id
    return BundleModel(kind=snapshot.kind, id=name, revision=snapshot.revision, served_name=snapshot.served_name)


def save_model(session: Session, writer: Writer, snapshot: Snapshot) -> list[BundleFile]:
    """Bring the model's files into the bundle.

    Raises:
        BundleError: One is gone, or is not what it was.
    """
    task = f"save {describe_model(snapshot).id}"
    meter = Meter(session.report, task, snapshot.size_bytes)
    files = []
    for record in snapshot.files:
        pieces = _count(read_file_pieces(snapshot.path / record.name), meter)
        writer.add_blob(pieces, record.size_bytes, record.sha256)
        files.append(_build_file("model", record.name, record.size_bytes, record.sha256))
    session.report(ProgressEvent(task, "", snapshot.size_bytes, snapshot.size_bytes, "done"))
    return files


def list_caches(folder: Path) -> Iterator[tuple[str, Path]]:
    """Give the files of the compile caches with their names.

    Raises:
        BundleError: They cannot be read.
    """
    try:
        paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    except OSError as err:
        raise BundleError(
            f"the compile caches in {folder} cannot be read: {err.strerror}", hint="leave out `--with-caches`"
        ) from err
    for path in paths:
        name = path.relative_to(folder).as_posix()
        if find_name_fault(name) is None:
            yield name, path


def save_caches(session: Session, writer: Writer, caches: list[tuple[str, Path]]) -> list[BundleFile]:
    """Bring compile caches into the bundle."""
    if not caches:
        return []
    total = sum(path.stat().st_size for _, path in caches)
    meter = Meter(session.report, "save compile caches", total)
    files = []
    for name, path in caches:
        sha256 = writer.add_blob(_count(read_file_pieces(path), meter))
        files.append(_build_file("cache", name, writer.has(sha256) or 0, sha256))
    session.report(ProgressEvent("save compile caches", "", total, total, "done"))
    return files


def _count(pieces: Iterable[bytes], meter: Meter) -> Iterator[bytes]:
    for piece in pieces:
        yield piece
        meter.add(len(piece))


def add_text(writer: Writer, part: str, text: str) -> BundleFile:
    """Bring one of the texts into the bundle: configuration, lock or history."""
    names: dict[str, tuple[Part, str]] = {
        "config": ("config", "stack.toml"),
        "lock": ("lock", "stack.lock"),
        "history": ("history", "history.json"),
    }
    kind, name = names[part]
    body = text.encode()
    return _build_file(kind, name, len(body), writer.add_body(body))


def _build_file(part: Part, name: str, size_bytes: int, sha256: str) -> BundleFile:
    return BundleFile(path=build_blob_path(sha256), part=part, name=name, size_bytes=size_bytes, sha256=sha256)


def add_layout(writer: Writer, images: Iterable[SavedImage]) -> list[BundleFile]:
    """Make the bundle an OCI image layout, for whoever reads those."""
    rows = []
    for saved in images:
        image = saved.image
        sha256 = image.manifest.removeprefix("sha256:")
        rows.append((image.name, image.manifest, writer.has(sha256) or 0, MANIFEST_TYPE))
    files = {"oci-layout": LAYOUT.encode(), "index.json": render_index(rows).encode()}
    return [_add_file(writer, path, body, "image") for path, body in files.items()]


def add_tool(session: Session, writer: Writer, files: list[BundleFile]) -> str:
    """Bring the tool into the bundle where it is not the one that is there; give what it is known by."""
    fingerprint = build_fingerprint()
    before = writer.before
    if before is not None and before.tool == fingerprint:
        kept = before.list_part("tool")
        if all(writer.has_file(file) for file in kept):
            files += kept
            return fingerprint
    session.report(ProgressEvent("save the tool", "its wheels are put together"))
    for path, body in build_tool_files().items():
        files.append(_add_file(writer, path, body, "tool"))
    session.report(ProgressEvent("save the tool", state="done"))
    return fingerprint


def _add_file(writer: Writer, path: str, body: bytes, part: Part) -> BundleFile:
    sha256 = writer.add_file(path, body)
    return BundleFile(path=path, part=part, name=path, size_bytes=len(body), sha256=sha256)
