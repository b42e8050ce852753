"""The folders of models, caches and state: writable, of the right user, not read-only."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from stack.checks.host.check import HostCheck, HostContext, Outcome
from stack.checks.host.filesystems import find_existing, read_filesystem
from stack.checks.host.target import FolderNeed

# A model volume of hundreds of snapshots must not make the check slow; a wrong owner shows near the top.
_MOST_ENTRIES = 2000
_DEPTH = 3


@dataclass(frozen=True)
class Fault:
    """What is wrong with one folder."""

    message: str
    hint: str
    is_failure: bool


def run(context: HostContext) -> Outcome:
    """Look at every folder, and report all faults at once."""
    faults = [fault for need in context.target.folders for fault in find_faults(context, need)]
    data = {"folders": {need.name: str(need.path) for need in context.target.folders}}
    if not faults:
        named = ", ".join(f"{need.name} {need.path}" for need in context.target.folders)
        return Outcome("pass", named or "none", data=data)
    worst = [fault for fault in faults if fault.is_failure] or faults
    return Outcome(
        "fail" if worst[0].is_failure else "warn",
        "; ".join(fault.message for fault in worst),
        hint="; ".join(dict.fromkeys(fault.hint for fault in worst)),
        why="what the stack downloads, compiles and remembers could not be written there",
        data=data,
    )


def find_faults(context: HostContext, need: FolderNeed) -> list[Fault]:
    """Give what is wrong with one folder."""
    existing = find_existing(need.path)
    where = f"{need.name} ({need.path})"
    move = f"or choose another place: {need.setting}"
    if not existing.is_dir():
        return [Fault(f"{where}: {existing} is no folder", f"move {existing} away, {move}", is_failure=True)]
    if not need.is_written:
        return []
    if read_filesystem(existing, context.world.statvfs).is_read_only:
        hint = f"`findmnt -T '{existing}'` shows why; make it writable, {move}"
        return [Fault(f"{where} is on a filesystem that is mounted read-only", hint, is_failure=True)]
    if not context.world.access(existing, os.W_OK | os.X_OK) and not is_engines(context, need, existing):
        owner = describe_owner(existing)
        return [
            Fault(
                f"{where}: this user (uid {context.world.uid}) may not write in {existing}, which belongs to {owner}",
                f"sudo chown -R {context.world.uid} '{existing}', {move}",
                is_failure=True,
            )
        ]
    return find_strangers(context, need)


def is_engines(context: HostContext, need: FolderNeed, existing: Path) -> bool:
    """Tell whether a folder belongs to the engine's own user, whom nobody else has to write for."""
    return need.engine_uid is not None and existing == need.path and existing.stat().st_uid == need.engine_uid


def find_strangers(context: HostContext, need: FolderNeed) -> list[Fault]:
    """Find what lies in a folder and belongs to a user who is neither this one nor the engine's."""
    if not need.path.is_dir():
        return []
    user = context.world.uid if need.engine_uid is None else need.engine_uid
    if user == 0:
        return []
    paths = islice(walk(need.path), _MOST_ENTRIES)
    strangers = [path for path in paths if is_strange(path, user)]
    if not strangers:
        return []
    who = "the engine" if need.engine_uid is not None else "this user"
    return [
        Fault(
            f"{need.name}: {strangers[0]} belongs to {describe_owner(strangers[0])}, so {who} (uid {user}) may not "
            f"change it{f' ({len(strangers)} such)' if len(strangers) > 1 else ''}",
            f"sudo chown -R {user} '{need.path}'",
            is_failure=False,
        )
    ]


def walk(folder: Path, depth: int = _DEPTH) -> Iterator[Path]:
    """Give what lies in a folder, some levels deep; what cannot be listed is left out."""
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    for path in entries:
        yield path
        if depth > 1 and not path.is_symlink() and path.is_dir():
            yield from walk(path, depth - 1)


def is_strange(path: Path, user: int) -> bool:
    """Tell whether a file or folder belongs to somebody else and is not open to everybody."""
    try:
        figures = path.lstat()
    except OSError:
        return False
    is_open = stat.S_ISLNK(figures.st_mode) or bool(figures.st_mode & stat.S_IWOTH)
    return figures.st_uid != user and not is_open


def describe_owner(path: Path) -> str:
    """Give who owns a path, by name where there is one."""
    uid = path.lstat().st_uid
    try:
        return f"{path.owner()} (uid {uid})" if not path.is_symlink() else f"uid {uid}"
    except (KeyError, OSError):
        return f"uid {uid}"


CHECK = HostCheck("folders", run, order=350, is_quick=True)
