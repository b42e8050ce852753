"""`stack bundle save`: everything that the stack needs, in one directory or file."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from stack import __version__
from stack.bundles.directory_writer import DirectoryWriter
from stack.bundles.file_writer import FileWriter
from stack.bundles.manifest import Bundle, BundleFile, BundleImage
from stack.bundles.problem import BundleError
from stack.bundles.target import is_file_target
from stack.bundles.writer import Writer
from stack.checks.host.filesystems import find_existing
from stack.config.engine_env import is_secret_name
from stack.config.lock import Lock, LockedImage, render_lock
from stack.images.reference import parse_reference
from stack.models.snapshot import Snapshot
from stack.operations.bundle.config import Settings, build_carried_settings, find_secrets, has_secret, render_settings
from stack.operations.bundle.contents import (
    add_layout,
    add_text,
    add_tool,
    describe_model,
    list_caches,
    save_caches,
    save_model,
)
from stack.operations.bundle.history import build_history_text
from stack.operations.bundle.save_images import ImageSaver, SavedImage
from stack.operations.bundle.wanted import WantedImage, find_wanted
from stack.operations.images.resolve import build_lock_key
from stack.operations.resolve import Resolved, machine_platform, resolve
from stack.operations.session import Session, hold_project

_SPARE_BYTES = 64 * 1024**2
# What is left of images when they are packed: measured 0.33 for CPU engines, more for libraries of a GPU.
_PACKED_RATIO = 0.6


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


def run_save(session: Session, where: Path, *, with_caches: bool = False, with_tool: bool = True) -> Saved:
    """Save the stack; what an interrupted save or an earlier bundle in the directory left is not written again.

    Raises:
        StackError: Something of it is not here, or the bundle cannot be written.
    """
    is_file = is_file_target(where)
    # What is saved is one state of the project: nothing that brings up another one may come in between.
    with hold_project(session, "bundle save"):
        return _save(replace(session, is_held=True), where, is_file, with_caches, with_tool)


def _save(session: Session, where: Path, is_file: bool, with_caches: bool, with_tool: bool) -> Saved:
    client = session.connect()
    resolved = resolve(session, client)
    snapshot = _demand_ready(session, resolved)
    wanted = find_wanted(session, client, resolved)
    settings, left_out = build_carried_settings(session.loaded)
    # The model itself is carried, whatever it is called here.
    left_out = [key for key in left_out if key != "model.id"]
    texts = {"history": build_history_text(session.paths.history)}
    caches = list(list_caches(session.paths.cache)) if with_caches else []
    with _open_writer(session, where, is_file, wanted, snapshot) as writer:
        _check_space(session, writer, where, wanted, snapshot)
        saver = ImageSaver(session, client, writer)
        images = [saver.save(image) for image in wanted]
        settings, lock = _settle(settings, resolved.lock, images, resolved)
        texts |= {"config": render_settings(settings), "lock": render_lock(lock)}
        _demand_no_secrets(session, texts)
        files = [file for image in images for file in image.files]
        files += save_model(session, writer, snapshot)
        files += save_caches(session, writer, caches)
        files += [add_text(writer, part, text) for part, text in sorted(texts.items())]
        files += add_layout(writer, images)
        tool = add_tool(session, writer, files) if with_tool else None
        said = [_add_commit(resolved.lock, image.image) for image in images]
        bundle = _build_manifest(session, resolved, snapshot, said, tool, left_out, files)
        size = writer.finish(bundle)
    return Saved(where, bundle, size, writer.written_bytes)


def _build_manifest(
    session: Session,
    resolved: Resolved,
    snapshot: Snapshot,
    images: Iterable[BundleImage],
    tool: str | None,
    left_out: Iterable[str],
    files: Iterable[BundleFile],
) -> Bundle:
    return Bundle(
        tool_version=__version__,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        project=session.project,
        platform=machine_platform(),
        device=resolved.device.device,
        images=tuple(images),
        model=describe_model(snapshot),
        tool=tool,
        left_out=tuple(left_out),
        files=tuple(files),
    )


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


def _open_writer(
    session: Session, where: Path, is_file: bool, wanted: Iterable[WantedImage], snapshot: Snapshot
) -> Writer:
    if not is_file:
        return DirectoryWriter(where, session.report)
    digests = [blob.digest for image in wanted if image.archived for blob in image.archived.blobs]
    for image in wanted:
        digests += image.attributes.get("RootFS", {}).get("Layers") or []
    hashes = [digest.removeprefix("sha256:") for digest in digests]
    return FileWriter(where, [*hashes, *(record.sha256 for record in snapshot.files)], session.report)


def _check_space(
    session: Session, writer: Writer, where: Path, wanted: Iterable[WantedImage], snapshot: Snapshot
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


def _is_kept(writer: Writer, image: WantedImage) -> bool:
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


def _add_commit(lock: Lock, image: BundleImage) -> BundleImage:
    engine = lock.engine
    if image.service != "engine" or engine is None:
        return image
    return image.model_copy(update={"commit": engine.commit, "level": engine.commit_level})


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
        if find_secrets([text], secrets) or (name == "lock" and has_secret(text)):
            raise BundleError(
                f"the {name} holds one of this project's secrets, and secrets are never part of a bundle",
                hint="take it out of the configuration: secrets are files",
            )
