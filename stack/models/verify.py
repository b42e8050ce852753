"""Whether a snapshot's files are still those that landed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from stack.errors import ModelError
from stack.files import replace_file
from stack.models.hashing import compute_sha256
from stack.models.meter import Meter
from stack.models.selection import select_files
from stack.models.snapshot import (
    MANIFEST_NAME,
    FileRecord,
    FileStat,
    Snapshot,
    build_snapshot_folder,
    render_manifest,
)
from stack.models.volume import load_file_stat, translate_os_errors
from stack.progress import ProgressEvent, Report, ignore

State = Literal["missing", "resized", "changed", "touched", "added"]


@dataclass(frozen=True)
class FileProblem:
    """One file that is not as it landed.

    Attributes:
        name: The file, inside the snapshot.
        state: `missing`; `resized` (cut or grown); `changed` (same size, other bytes); `touched` (same size,
            but its time or inode is another: only its hash can tell); `added` (nobody recorded it).
        message: The same as a sentence.
    """

    name: str
    state: State
    message: str

    def __str__(self) -> str:
        return f"{self.name}: {self.message}"


def check_snapshot(snapshot: Snapshot, *, deep: bool = False, report: Report = ignore) -> list[FileProblem]:
    """Compare a snapshot's files with what was recorded when they landed.

    Args:
        snapshot: As `load_snapshot` read it from its manifest.
        deep: Hash every file instead of comparing sizes, times and inodes only.
        report: Told bytes while hashing.
    """
    problems = [
        problem
        for record in snapshot.files
        if (problem := _check_stat(snapshot.path / record.name, record, snapshot.stats.get(record.name)))
    ]
    if deep:
        lost = [problem for problem in problems if problem.state != "touched"]
        names = {problem.name for problem in lost}
        problems = lost + check_hashes(snapshot, (r for r in snapshot.files if r.name not in names), report)
    return sorted([*problems, *_find_added(snapshot)], key=lambda problem: problem.name)


def check_hashes(snapshot: Snapshot, records: Iterable[FileRecord], report: Report) -> list[FileProblem]:
    """Hash these files, which must be there, and name those whose bytes are others."""
    chosen = list(records)
    task = f"verify {snapshot.id}"
    meter = Meter(report, task, sum(record.size_bytes for record in chosen))
    problems = []
    for record in chosen:
        meter.say(record.name)
        with translate_os_errors(f"cannot read {snapshot.path / record.name}"):
            digest = compute_sha256(snapshot.path / record.name, meter.add)
        if digest != record.sha256:
            message = f"its bytes changed (sha256 {digest[:12]}…, was {record.sha256[:12]}…)"
            problems.append(FileProblem(record.name, "changed", message))
    ended = "failed" if problems else "done"
    report(ProgressEvent(task, f"{len(chosen)} files hashed, {len(problems)} changed", state=ended))
    return problems


def settle_touched(
    volume: Path, snapshot: Snapshot, problems: Iterable[FileProblem], report: Report
) -> tuple[Snapshot, list[FileProblem]]:
    """Hash the files that were only touched; those with the right bytes are recorded anew.

    A volume that was copied or restored from a backup has other inodes and times: that is no damage.

    Returns:
        The snapshot with its new record, and the problems that stay.
    """
    found = list(problems)
    touched = {problem.name for problem in found if problem.state == "touched"}
    if not touched:
        return snapshot, found
    changed = check_hashes(snapshot, (record for record in snapshot.files if record.name in touched), report)
    right = touched - {problem.name for problem in changed}
    stats = dict(snapshot.stats) | {name: load_file_stat(snapshot.path / name) for name in right}
    settled = replace(snapshot, stats=stats)
    try:
        save_manifest(volume, settled)
    except ModelError as error:
        # A volume that is only read is still good; the next boot hashes these files again.
        report(ProgressEvent(f"verify {snapshot.id}", error.message, state="skipped"))
    rest = [problem for problem in found if problem.state != "touched"] + changed
    return settled, sorted(rest, key=lambda problem: problem.name)


def save_manifest(volume: Path, snapshot: Snapshot) -> None:
    """Write the manifest of a snapshot that is in its place.

    Raises:
        ModelError: The volume cannot be written.
    """
    folder = build_snapshot_folder(volume, snapshot.key)
    with translate_os_errors(f"cannot write {folder / MANIFEST_NAME}"):
        replace_file(folder / MANIFEST_NAME, render_manifest(snapshot).encode())


def _check_stat(path: Path, record: FileRecord, was: FileStat | None) -> FileProblem | None:
    try:
        now = load_file_stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return FileProblem(record.name, "missing", "it is gone")
    except OSError as error:
        return FileProblem(record.name, "missing", f"it cannot be read ({error.strerror})")
    if now.size_bytes != record.size_bytes:
        verb = "was cut" if now.size_bytes < record.size_bytes else "has grown"
        message = f"it {verb} ({now.size_bytes} bytes, was {record.size_bytes})"
        return FileProblem(record.name, "resized", message)
    if was is None or now != was:
        return FileProblem(record.name, "touched", "its time or inode changed since it landed")
    return None


def _find_added(snapshot: Snapshot) -> list[FileProblem]:
    if not snapshot.path.is_dir():
        return []
    known = {record.name for record in snapshot.files}
    present = [path.relative_to(snapshot.path).as_posix() for path in snapshot.path.rglob("*") if path.is_file()]
    added = [name for name in select_files(present).chosen if name not in known]
    return [FileProblem(name, "added", "it was not there when the snapshot landed") for name in added]
