"""What an earlier run left: unfinished downloads, dead files, containers that nobody remembers."""

from __future__ import annotations

import os
import re
from pathlib import Path

from stack.checks.host.amounts import describe_bytes
from stack.checks.host.check import HostCheck, HostContext, Outcome
from stack.checks.host.target import StateNeed

# `stack.files` writes `.NAME.PID.HEX.partial` beside a file before it takes its place.
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.(?P<pid>\d+)\.[0-9a-f]{8}\.partial$")
_STAGING = ".staging"
_LOCKS = ".locks"
_BIG_BYTES = 1024**3


def run(context: HostContext) -> Outcome:
    """Look at state, volume, history and containers; nothing of it is touched."""
    state = context.target.state
    if state is None:
        return Outcome("skip", "there is no project to look at")
    faults = [*find_busy(context, state), *find_unfinished(context, state), *find_strays(context, state)]
    notes = find_notes(context, state)
    data = {"notes": notes, "last_boot": state.last_boot}
    if faults:
        return Outcome(
            "warn",
            "; ".join(message for message, _ in faults),
            hint="; ".join(dict.fromkeys(hint for _, hint in faults)),
            why="`up` goes on from there, but somebody should know of it",
            data=data,
        )
    return Outcome("pass", "; ".join(notes) or "nothing is left of an earlier run", data=data)


def find_busy(context: HostContext, state: StateNeed) -> list[tuple[str, str]]:
    """Find another run of the tool that works on this project now, by the kernel's list of locks."""
    holder = find_lock_holder(context.world.proc, state.lock)
    if holder is None or holder == os.getpid():
        return []
    try:
        doing = state.lock.read_text().strip()
    except OSError:
        doing = ""
    said = f"{doing or f'process {holder}'} works on project `{context.target.project}` now"
    return [(said, f"wait for it, or see what it does: `ps -fp {holder}`")]


def find_lock_holder(proc: Path, path: Path) -> int | None:
    """Give the process that holds a file's lock, or None: proc_locks(5) names device, inode and process."""
    try:
        figures = path.stat()
        rows = [line.split() for line in (proc / "locks").read_text().splitlines()]
    except OSError:
        return None
    wanted = f"{os.major(figures.st_dev):02x}:{os.minor(figures.st_dev):02x}:{figures.st_ino}"
    for row in rows:
        if len(row) > 5 and row[1] == "FLOCK" and row[5] == wanted:
            return int(row[4])
    return None


def find_unfinished(context: HostContext, state: StateNeed) -> list[tuple[str, str]]:
    """Find large downloads that nobody works on; a small one is a note only."""
    found = [row for row in list_staged(context, state) if not row[2] and row[1] >= _BIG_BYTES]
    if not found:
        return []
    total = describe_bytes(sum(size for _, size, _ in found))
    named = ", ".join(name for name, _, _ in found)
    hint = "`stack up` or `stack warm` goes on with that of its model; `stack warm --prune` removes the others"
    return [(f"{total} of unfinished downloads on the volume: {named}", hint)]


def list_staged(context: HostContext, state: StateNeed) -> list[tuple[str, int, bool]]:
    """List what is on its way to the volume: its name, its size in bytes, and whether somebody works on it."""
    rows = []
    try:
        folders = sorted(path for path in (state.volume / _STAGING).iterdir() if path.is_dir())
    except OSError:
        return []
    for folder in folders:
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        lock = state.volume / _LOCKS / f"{folder.name}.lock"
        rows.append((folder.name, size, find_lock_holder(context.world.proc, lock) is not None))
    return rows


def find_strays(context: HostContext, state: StateNeed) -> list[tuple[str, str]]:
    """Find containers of this project that the tool did not make, or no longer remembers."""
    ours = [one for one in context.read_containers() if one.project == context.target.project]
    foreign = [one.name for one in ours if not one.is_tools]
    faults = []
    if foreign:
        hint = f"choose another name for this project (`--project`), or remove them: `docker rm -f {' '.join(foreign)}`"
        faults.append((f"containers of project `{context.target.project}` that this tool did not make: "
                       f"{', '.join(foreign)}", hint))  # fmt: skip
    if ours and not foreign and not state.facts.is_file():
        hint = "`stack up` takes them over; `stack down` removes them"
        faults.append((f"containers of this project run, and nothing of them is in {state.folder}", hint))
    return faults


def find_notes(context: HostContext, state: StateNeed) -> list[str]:
    """Give what needs nobody's hand: the next `up` goes on from it."""
    notes = []
    for name, size, is_busy in list_staged(context, state):
        doing = "is being fetched now" if is_busy else "is unfinished; `up` goes on with it"
        notes.append(f"{name} ({describe_bytes(size)}) {doing}")
    if state.last_boot == "unfinished":
        notes.append("the last boot was interrupted before its end")
    dead = list_dead_files(context.world.proc, state.folder)
    if dead:
        notes.append(f"{len(dead)} half-written file{'s' if len(dead) > 1 else ''} of a run that was killed")
    return notes


def list_dead_files(proc: Path, folder: Path) -> list[Path]:
    """List files that a process of the tool began to write and did not put in place, as it is gone."""
    try:
        paths = [path for path in folder.rglob(".*") if path.is_file()]
    except OSError:
        return []
    matches = [(path, _TEMPORARY.match(path.name)) for path in paths]
    return [path for path, match in matches if match and not (proc / match["pid"]).exists()]


CHECK = HostCheck("leftovers", run, order=510)
