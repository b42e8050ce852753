"""`stack history`: which runs there were, and one of them with all that is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stack.errors import ConfigError, Problem
from stack.history.query import (
    BOOT,
    LAST,
    Entry,
    Wanted,
    find_entries,
    find_entry,
    find_related,
    list_kinds,
    parse_name,
)
from stack.history.records import BootRecord
from stack.history.store import History
from stack.operations.explain import UNKNOWN_NEXT, explain_log
from stack.operations.history.open import open_project_history
from stack.operations.session import Session

EARLIER = 20
"""So many boots of one kind show whether a boot was usual, and fit on a page."""


@dataclass(frozen=True)
class Failure:
    """Why a boot failed, and what to do next."""

    cause: str
    next: str


@dataclass(frozen=True)
class RunDetail:
    """One run with what belongs to it.

    Attributes:
        project: The project.
        entry: The run.
        related: The names of the smokes and other runs that judged its boot.
        earlier: Boots of the same kind that became ready before it, the newest first.
        lock_text: The stack.lock of its boot, where it is kept.
        log_path: The boot's log, where it is kept.
        failure: Why the boot failed, as far as its log tells.
    """

    project: str
    entry: Entry
    related: tuple[str, ...] = ()
    earlier: tuple[BootRecord, ...] = ()
    lock_text: str | None = None
    log_path: Path | None = None
    failure: Failure | None = None


def list_entries(session: Session, wanted: Wanted) -> list[Entry]:
    """Give the project's runs, the newest first; none where nothing ever ran.

    Raises:
        StackError: The history cannot be read.
    """
    history = _open(session)
    return find_entries(history, wanted) if history is not None else []


def find_kinds(session: Session) -> list[str]:
    """Give the kinds of runs that the project's history has."""
    history = _open(session)
    return list_kinds(history) if history is not None else []


def find_run(session: Session, name: str) -> RunDetail:
    """Give one run: `last` for the newest, `boot-12`, `smoke-8`, or `12` for the boot of that number.

    Raises:
        ConfigError: The history has no such run, or it is no name of one.
        StackError: The history cannot be read.
    """
    history = _open(session)
    if history is None:
        raise _no_run(session, "nothing ever ran", "`stack up` is the first run")
    if name == LAST:
        newest = find_entries(history, Wanted(limit=1))
        if not newest:
            raise _no_run(session, "nothing ever ran", "`stack up` is the first run")
        kind, number = newest[0].kind, newest[0].number
    else:
        kind, number = _parse(session, name)
    entry = find_entry(history, kind, number)
    if entry is None:
        raise _no_run(session, f"the history has no {kind} {number}", "`stack history` lists the runs that it has")
    return _complete(session, history, entry)


def _complete(session: Session, history: History, entry: Entry) -> RunDetail:
    boot = entry.boot
    if boot is None:
        return RunDetail(session.project, entry)
    start = boot.start
    log_path = Path(start.log_path) if start.log_path else None
    is_told = entry.kind == BOOT and boot.outcome == "failed"
    log_path = log_path if log_path is not None and log_path.is_file() else None
    return RunDetail(
        project=session.project,
        entry=entry,
        related=tuple(name for name in find_related(history, boot.id) if name != entry.name),
        earlier=tuple(history.boots_of_kind(start.kind, EARLIER, before=boot.id)),
        lock_text=history.load_lock(start.lock_sha256) if start.lock_sha256 else None,
        log_path=log_path,
        failure=read_failure(log_path) if is_told and log_path is not None else None,
    )


def read_failure(log_path: Path) -> Failure | None:
    """Give what a boot's log tells of its failure; None where it names none, or cannot be read."""
    try:
        with log_path.open("rb") as log:
            found = explain_log(log)
    except OSError:
        return None
    if found.explained is not None:
        return Failure(found.explained.cause, found.explained.next)
    if found.first_cause is not None:
        return Failure(f"not a known failure; the log names first: {found.first_cause.text}", UNKNOWN_NEXT)
    return None


def _open(session: Session) -> History | None:
    # Opened as `up` opens it: one of an older version is brought up, a damaged one is set aside and said.
    return open_project_history(session) if session.paths.history.is_file() else None


def _parse(session: Session, name: str) -> tuple[str, int]:
    found = parse_name(name)
    if found is None:
        said = f"`{name}` names no run; a run is `{LAST}`, `{BOOT}-12`, `smoke-8`, or `12` for boot 12"
        raise ConfigError([Problem("RUN", said)], hint="`stack history` lists the runs that it has")
    return found


def _no_run(session: Session, said: str, hint: str) -> ConfigError:
    return ConfigError([Problem("", f"project `{session.project}`: {said}")], hint=hint)
