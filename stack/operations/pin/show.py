"""What `stack pin --show` tells of engines that were built here: the packages in the lock, the record in the state."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack.config.lock import LockedBuild
from stack.operations.images.build_records import build_record_path, load_record
from stack.operations.images.locked_build import lock_build
from stack.operations.session import Session, load_project_lock


@dataclass(frozen=True)
class ShownBuild:
    """One build of an engine.

    Attributes:
        locked: What the lock has of it.
        record: The record of the image that came of it here, or None where none did.
        record_path: Where the record lies.
    """

    locked: LockedBuild
    record: dict[str, Any] | None
    record_path: Path


def read_builds(session: Session) -> dict[str, ShownBuild]:
    """Give the builds that stack.lock holds, by device.

    Raises:
        ImageError: A record is damaged.
    """
    path, record = build_record_path(session.paths, "engine"), load_record(session.paths, "engine")
    found = {}
    for key, locked in load_project_lock(session).builds.items():
        # One record lies there, of the engine that ran last: it may be of another device or pin.
        is_its = lock_build(record) == locked
        found[key.removeprefix("engine/")] = ShownBuild(locked, record if is_its else None, path)
    return found


def describe_build(build: ShownBuild) -> dict[str, Any]:
    """Give a build as a JSON document."""
    return {**build.locked.model_dump(), "record": build.record, "record_path": str(build.record_path)}


def list_build_rows(build: ShownBuild) -> list[tuple[str, str]]:
    """Give what a person wants to know of a build, row by row."""
    locked = build.locked
    torch = locked.packages.get("torch")
    hashed = sum(item.sha256 is not None for item in locked.packages.values())
    cuda = (build.record or {}).get("cuda")
    parts = [
        f"{locked.distribution} {locked.version}",
        *([f"torch {torch.version}"] if torch else []),
        *([f"CUDA {cuda}"] if cuda else []),
        f"Python {locked.python} on {locked.machine}",
        f"{len(locked.packages)} packages, {'all' if hashed == len(locked.packages) else hashed} with a hash",
    ]
    rows = [("build", ", ".join(parts))]
    if locked.wheel:
        rows.append(("", locked.wheel))
    if build.record is not None:
        rows.append(("", f"its record is {build.record_path}"))
    return rows
