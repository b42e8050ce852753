"""`stack bundle save`: everything that the stack needs, in one directory or file."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stack import __version__
from stack.bundles.directory_writer import DirectoryWriter
from stack.bundles.file_writer import FileWriter
from stack.bundles.files import read_file_pieces
from stack.bundles.manifest import Bundle, BundleFile, BundleImage, BundleModel, Part
from stack.bundles.names import build_blob_path, find_name_fault
from stack.bundles.oci import LAYOUT, MANIFEST_TYPE, render_index
from stack.bundles.problem import BundleError
from stack.checks.host.filesystems import find_existing
from stack.config.engine_env import is_secret_name
from stack.config.lock import Lock, LockedImage, render_lock
from stack.images.reference import parse_reference
from stack.models.meter import Meter
from stack.models.snapshot import Snapshot
from stack.operations.bundle_config import Settings, build_carried_settings, find_secrets, render_settings
from stack.operations.bundle_history import build_history_text
from stack.operations.bundle_images import ImageSaver, SavedImage, WantedImage, find_wanted
from stack.operations.bundle_tool import build_fingerprint, build_tool_files
from stack.operations.resolve import Resolved, machine_platform, resolve
from stack.operations.resolve_images import build_lock_key
from stack.operations.session import Session, load_project_lock
from stack.progress import ProgressEvent

FILE_SUFFIXES = (".tar", ".tar.zst")
_SPARE_BYTES = 64 * 1024**2
# What is left of images when they are packed: measured 0.33 for CPU engines, more for libraries of a GPU.
_PACKED_RATIO = 0.6

AnyWriter = DirectoryWriter | FileWriter


@dataclass(frozen=True)
class Saved:
    """What was saved.

    Attributes:
        where: The bundle.
        bundle: Its manifest.
        size_bytes: What it takes.
        written_bytes: What had to be written of it.
    """

    where: Path
    bundle: Bundle
    size_bytes: int
    written_bytes: int


def is_file_target(where: Path) -> bool:
    """Tell whether a bundle of this name is one file."""
    return where.name.endswith(FILE_SUFFIXES) or where.is_file()


def run_save(session: Session, where: Path, *, with_caches: bool = False, with_tool: bool = True) -> Saved:
    """Save the stack; what an interrupted save or an earlier bundle in the directory left is not written again.

    Raises:
        StackError: Something of it is not here, or the bundle cannot be written.
    """
    client = session.connect()
    resolved = resolve(session, client)
    snapshot = _demand_ready(session, resolved)
    wanted = find_wanted(session, client, resolved)
    settings, left_out = build_carried_settings(session.loaded)
    # The model itself is carried, whatever it is called here.
    left_out = [key for key in left_out if key != "model.id"]
    texts = {"history": build_history_text(session.paths.history)}
    caches = list(_list_caches(session.paths.cache)) if with_caches else []
    with _open_writer(where, wanted, snapshot) as writer:
        _check_space(session, writer, where, wanted, snapshot)
        saver = ImageSaver(session, client, writer)
        images = [saver.save(image) for image in wanted]
        settings, lock = _settle(settings, resolved.lock, images, resolved)
        texts |= {"config": render_settings(settings), "lock": render_lock(lock)}
        _demand_no_secrets(session, texts)
        files = [file for image in images for file in image.files]
        files += _save_model(session, writer, snapshot)
        files += _save_caches(session, writer, caches)
        files += [_add_text(writer, part, text) for part, text in sorted(texts.items())]
        files += _add_layout(writer, images)
        tool = _add_tool(session, writer, files) if with_tool else None
        bundle = Bundle(
            tool_version=__version__,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            project=session.project,
            platform=machine_platform(),
            device=resolved.device.device,
            images=tuple(_add_commit(session, image.image) for image in images),
            model=_describe_model(snapshot),
            tool=tool,
            left_out=tuple(left_out),
            files=tuple(files),
        )
        size = writer.finish(bundle)
    return Saved(where, bundle, size, writer.written_bytes)


def _demand_ready(session: Session, resolved: Resolved) -> Snapshot:
    if resolved.snapshot is None:
        raise BundleError(
            f"the model {resolved.reference.id} is not on the shared volume, so it cannot be saved",
            hint="`stack up` (or `stack warm`) brings it there",
        )
    if not resolved.lock.images:
        raise BundleError(
            f"{session.lock_path} names no images: this stack was never up, and nothing says what it consists of",
            hint="`stack up` first; a bundle holds what came up here",
        )
    return resolved.snapshot


@contextmanager
def _open_writer(where: Path, wanted: Iterable[WantedImage], snapshot: Snapshot) -> Iterator[AnyWriter]:
    if not is_file_target(where):
        with DirectoryWriter(where) as writer:
            yield writer
        return
    digests = [blob.digest for image in wanted if image.archived for blob in image.archived.blobs]
    for image in wanted:
        digests += image.attributes.get("RootFS", {}).get("Layers") or []
    hashes = [digest.removeprefix("sha256:") for digest in digests]
    with FileWriter(where, [*hashes, *(record.sha256 for record in snapshot.files)]) as writer:
        yield writer


def _check_space(
    session: Session, writer: AnyWriter, where: Path, wanted: Iterable[WantedImage], snapshot: Snapshot
) -> None:
    """Say before the start that the disk has no room for what is to come.

    Raises:
        BundleError: It has none.
    """
    ratio = _PACKED_RATIO if where.name.endswith(".zst") else 1.0
    images = [image for image in wanted if not _is_kept(writer, image)]
    needed = sum(int(image.size_bytes * (1.0 if image.archived else ratio)) for image in images)
    needed += sum(record.size_bytes for record in snapshot.files if writer.has(record.sha256) is None)
    folder = find_existing(where.absolute())
    free = shutil.disk_usage(folder).free
    if needed + _SPARE_BYTES > free:
        raise BundleError(
            f"{folder} has {free / 1e9:.1f} GB free, and about {needed / 1e9:.1f} GB are to be written to {where}",
            hint="make room, or name another disk; nothing was written",
        )


def _is_kept(writer: AnyWriter, image: WantedImage) -> bool:
    layers = image.attributes.get("RootFS", {}).get("Layers") or []
    digests = [blob.digest for blob in image.archived.blobs] if image.archived else layers
    return bool(digests) and all(writer.has(digest.removeprefix("sha256:")) is not None for digest in digests)


def _settle(settings: Settings, lock: Lock, images: Iterable[SavedImage], resolved: Resolved) -> tuple[Settings, Lock]:
    """Have configuration and lock say what runs: images that go by names of the bundle's own, and what is left out."""
    named, entries = dict(settings), dict(lock.images)
    for service in resolved.left_out:
        named[("services", service, "enabled")] = False
    for saved in images:
        if not saved.is_renamed:
            continue
        service, device = saved.image.service, resolved.device.device
        named[("engine", "image") if service == "engine" else ("services", service, "image")] = saved.image.name
        entries[build_lock_key(service, device)] = LockedImage(
            reference=saved.image.name,
            tag=parse_reference(saved.image.name).tag,
            device=device if service == "engine" else None,
            source="registry",
            recorded_from="registry",
        )
        if service == "engine":
            # Each says in its own way which engine runs, and the image says it now.
            named.pop(("images", "source"), None)
            named.pop(("engine", "version"), None)
            if lock.engine is not None and lock.engine.pinned is not None and lock.engine.commit is not None:
                named[("engine", "commit")] = lock.engine.commit
    return named, lock.model_copy(update={"images": entries})


def _add_commit(session: Session, image: BundleImage) -> BundleImage:
    engine = load_project_lock(session).engine
    if image.service != "engine" or engine is None:
        return image
    return image.model_copy(update={"commit": engine.commit, "level": engine.commit_level})


def _describe_model(snapshot: Snapshot) -> BundleModel:
    # A directory's path is true on this machine only, its name decides what clients call the model.
    name = Path(snapshot.id).name if snapshot.kind == "directory" else snapshot.id
    return BundleModel(kind=snapshot.kind, id=name, revision=snapshot.revision, served_name=snapshot.served_name)


def _save_model(session: Session, writer: AnyWriter, snapshot: Snapshot) -> list[BundleFile]:
    task = f"save {_describe_model(snapshot).id}"
    meter = Meter(session.report, task, snapshot.size_bytes)
    files = []
    for record in snapshot.files:
        pieces = _count(read_file_pieces(snapshot.path / record.name), meter)
        writer.add_blob(pieces, record.size_bytes, record.sha256)
        files.append(_build_file("model", record.name, record.size_bytes, record.sha256))
    session.report(ProgressEvent(task, "", snapshot.size_bytes, snapshot.size_bytes, "done"))
    return files


def _list_caches(folder: Path) -> Iterator[tuple[str, Path]]:
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


def _save_caches(session: Session, writer: AnyWriter, caches: list[tuple[str, Path]]) -> list[BundleFile]:
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


def _add_text(writer: AnyWriter, part: str, text: str) -> BundleFile:
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


def _add_layout(writer: AnyWriter, images: Iterable[SavedImage]) -> list[BundleFile]:
    """Make the bundle an OCI image layout, for whoever reads those."""
    rows = []
    for saved in images:
        image = saved.image
        sha256 = image.manifest.removeprefix("sha256:")
        rows.append((image.name, image.manifest, writer.has(sha256) or 0, MANIFEST_TYPE))
    files = {"oci-layout": LAYOUT.encode(), "index.json": render_index(rows).encode()}
    return [_add_file(writer, path, body, "image") for path, body in files.items()]


def _add_tool(session: Session, writer: AnyWriter, files: list[BundleFile]) -> str:
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


def _add_file(writer: AnyWriter, path: str, body: bytes, part: Part) -> BundleFile:
    sha256 = writer.add_file(path, body)
    return BundleFile(path=path, part=part, name=path, size_bytes=len(body), sha256=sha256)


def _demand_no_secrets(session: Session, texts: dict[str, str]) -> None:
    """Look for the project's own secrets in what is written as text, whatever way one may have come there.

    Raises:
        BundleError: There is one.
    """
    secrets = []
    paths = list(session.paths.secrets.glob("*")) if session.paths.secrets.is_dir() else []
    if session.config.model.token_file is not None:
        paths.append(session.config.model.token_file)
    for path in paths:
        try:
            secrets.append(path.read_text().strip())
        except (OSError, UnicodeDecodeError):
            continue
    secrets += [value for name, value in session.environ.items() if is_secret_name(name)]
    for name, text in texts.items():
        if find_secrets([text], secrets):
            raise BundleError(
                f"the {name} holds one of this project's secrets, and secrets are never part of a bundle",
                hint="take it out of the configuration: secrets are files",
            )
