"""A directory of the user becomes a snapshot: its files stay where they are, only their hashes are kept."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from stack.errors import ModelError
from stack.models.hashing import compute_sha256
from stack.models.meter import Meter
from stack.models.safetensors_header import check_safetensors_size
from stack.models.selection import select_files
from stack.models.snapshot import (
    FileRecord,
    FileStat,
    Snapshot,
    SnapshotKey,
    build_content_revision,
    build_snapshot_folder,
    load_snapshot,
)
from stack.models.verify import save_manifest
from stack.models.volume import load_file_stat, make_folder, translate_os_errors
from stack.progress import ProgressEvent, Report

_CONFIGS = ("config.json", "params.json")
_INDEX = "model.safetensors.index.json"
# A hub cache's links lead two folders up, three where blobs are shared between repositories.
_HIGHEST_MOUNT = 3


def land_directory(path: Path, *, volume: Path, report: Report) -> Snapshot:
    """Check a model directory and give its snapshot; hashes of unchanged files are remembered.

    Raises:
        ModelError: It is no model directory, or it is damaged.
    """
    names, mount_root = check_directory(path)
    place = path.resolve()
    key = SnapshotKey("directory", str(path), "")
    before = load_snapshot(build_snapshot_folder(volume, key))
    records, stats = _hash_files(path, names, before, report)
    snapshot = Snapshot(
        kind="directory",
        id=str(path),
        revision=build_content_revision(records),
        path=place,
        files=records,
        served_name=place.name,
        mount_root=mount_root,
        stats=stats,
    )
    if snapshot != before or dict(before.stats) != stats:
        with translate_os_errors(f"cannot write to {volume}"):
            make_folder(build_snapshot_folder(volume, key))
        save_manifest(volume, snapshot)
    ended = f"ready, {len(records)} files at {snapshot.revision[:19]}"
    report(ProgressEvent(f"model {path.name}", ended, snapshot.size_bytes, snapshot.size_bytes, "done"))
    return snapshot


def check_directory(path: Path) -> tuple[tuple[str, ...], Path]:
    """Give the files that count in a model directory, and the directory to mount for them; hashes nothing.

    Raises:
        ModelError: It is no model directory, it is damaged, or its links lead too far away.
    """
    names = check_model_directory(path)
    return names, find_mount_root(path, names)


def check_model_directory(path: Path) -> tuple[str, ...]:
    """Give the names of the files that count in a model directory.

    Raises:
        ModelError: What is missing or damaged; the first of config, weights, shards, links, lengths.
    """
    names = _list_names(path)
    selection = select_files(names)
    configs = [name for name in _CONFIGS if name in selection.chosen]
    if not configs:
        raise ModelError(f"{path} holds no config.json", hint="`model.id` must name a Hugging Face model directory")
    _load_json(path / configs[0])
    if not selection.weights:
        formats = sorted({Path(name).suffix for name in selection.other_weights})
        found = f"only {', '.join(formats)}" if formats else "no weights at all"
        raise ModelError(f"{path} holds no safetensors ({found})", hint="convert the model to safetensors")
    _check_shards(path, names)
    for name in selection.weights:
        check_safetensors_size(path / name)
    return selection.chosen


def find_mount_root(path: Path, names: Iterable[str]) -> Path:
    """Give the directory to mount so that every link of these files leads somewhere inside it.

    Raises:
        ModelError: A link is absolute, or leads so far away that too much would have to be mounted.
    """
    place = path.resolve()
    root = place
    for name in names:
        for step in _follow(place / name):
            if step.is_relative_to(root):
                continue
            root = Path(os.path.commonpath([root, step]))
    if len(place.parts) - len(root.parts) > _HIGHEST_MOUNT or root == Path("/"):
        raise ModelError(
            f"{path} holds links that lead far outside of it (to {root})",
            hint=f"copy it with `cp -rL {path} DIRECTORY` and use the copy",
        )
    return root


def find_unreadable(snapshot: Snapshot, uid: int, gids: Collection[int]) -> list[str]:
    """Name the files that a process with this uid and these gids could not read, by their modes."""
    unreadable = []
    for record in snapshot.files:
        status = (snapshot.path / record.name).stat()
        shift = 6 if status.st_uid == uid else 3 if status.st_gid in gids else 0
        if uid != 0 and not (status.st_mode >> shift) & 0o4:
            unreadable.append(record.name)
    return unreadable


def _list_names(path: Path) -> list[str]:
    if not path.exists():
        raise ModelError(f"there is no directory {path}", hint="check `model.id`")
    if not path.is_dir():
        raise ModelError(f"{path} is not a directory", hint="`model.id` must name a Hugging Face model directory")
    with translate_os_errors(f"cannot read {path}"):
        return [
            found.relative_to(path).as_posix()
            for found in path.rglob("*")
            if found.is_symlink() or found.is_file()
            if not found.is_dir()
        ]


def _check_shards(path: Path, names: list[str]) -> None:
    broken = [name for name in select_files(names).chosen if not (path / name).exists()]
    if broken:
        raise ModelError(
            f"{path / broken[0]} is a link that leads nowhere",
            hint="the download or copy of this directory is not complete",
        )
    if _INDEX not in names:
        return
    index = _load_json(path / _INDEX)
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict):
        raise ModelError(f"{path / _INDEX} has no `weight_map`")
    missing = sorted({str(shard) for shard in weight_map.values()} - set(names))
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ModelError(
            f"{path} lacks {missing[0]}{more}, which its index names",
            hint="the download or copy of this directory is not complete",
        )


def _load_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ModelError(f"{path} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ModelError(f"{path} does not hold a JSON object")
    return document


def _follow(path: Path) -> list[Path]:
    """Give every place that a chain of links passes, the real file last."""
    steps = []
    while path.is_symlink():
        target = path.readlink()
        if target.is_absolute() and not target.is_relative_to(path.parent.resolve()):
            raise ModelError(
                f"{path} is a link to the absolute path {target}, which the engine's container cannot follow",
                hint=f"copy the directory with `cp -rL {path.parent} DIRECTORY` and use the copy",
            )
        path = Path(os.path.normpath(path.parent / target))
        steps.append(path)
    return [*steps, path.resolve()]


def _hash_files(
    path: Path, names: Iterable[str], before: Snapshot | None, report: Report
) -> tuple[tuple[FileRecord, ...], dict[str, FileStat]]:
    known = {record.name: record for record in before.files} if before else {}
    was = before.stats if before else {}
    with translate_os_errors(f"cannot read {path}"):
        stats = {name: load_file_stat(path / name) for name in sorted(names)}
        fresh = {name for name in stats if name not in known or was.get(name) != stats[name]}
        total_bytes = sum(stats[name].size_bytes for name in fresh)
        meter = Meter(report, f"model {path.name}", total_bytes, "hashing")
        records = tuple(
            FileRecord(name, stat.size_bytes, compute_sha256(path / name, meter.add)) if name in fresh else known[name]
            for name, stat in stats.items()
        )
    return records, stats
