"""What an upgrade keeps beside stack.lock while it tries another engine, and what is left of one that was killed.

stack.lock itself is written once, when the new engine is kept: whatever happens before, the next `up` goes back.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from stack.config.lock import LOCK_NAME, Lock, load_lock, render_lock
from stack.errors import ConfigError, StackError
from stack.operations.session import Session, is_held_by_others
from stack.operations.write import build_folder_error, write_whole

_FOLDER = "upgrade"
_BEFORE = "before.lock"


def start_trial(session: Session) -> tuple[Path, Path]:
    """Copy stack.lock twice: one for the engine that is tried, one to go back with. Gives both paths.

    Raises:
        ConfigError: There is no lock, or it is damaged.
        StackError: They cannot be written.
    """
    # Before anything is copied: a damaged one says so itself.
    load_lock(session.lock_path)
    folder = session.paths.state / _FOLDER
    text = session.lock_path.read_bytes().decode()
    for name in (LOCK_NAME, _BEFORE):
        write_whole(folder / name, text)
    return folder / LOCK_NAME, folder / _BEFORE


def start_trial_of(session: Session, lock: Lock) -> Path:
    """Write a lock beside stack.lock, to see what would come of it. Gives its path.

    Raises:
        StackError: It cannot be written.
    """
    path = session.paths.state / _FOLDER / LOCK_NAME
    write_whole(path, render_lock(lock))
    return path


def end_trial(session: Session) -> None:
    """Take the copies away.

    Raises:
        HostError: They cannot be removed.
    """
    folder = session.paths.state / _FOLDER
    try:
        if folder.is_dir():
            shutil.rmtree(folder)
    except OSError as err:
        raise build_folder_error(folder, err) from err


def describe_trial(session: Session) -> str | None:
    """Say what upgrade is under way, or was begun and not ended; None where there is none."""
    tried = session.paths.state / _FOLDER / LOCK_NAME
    if session.lock_file is not None or not tried.is_file():
        return None
    if session.lock_path.is_file() and session.lock_path.read_bytes() == tried.read_bytes():
        # It ended in its first moment, or in its last: stack.lock has the new engine then.
        return None
    if is_held_by_others(session):
        return (
            f"`stack upgrade {_find_name(tried)}` is under way: it ends by itself, with the new engine or the old one"
        )
    return (
        f"`stack upgrade {_find_name(tried)}` was interrupted; stack.lock is as it was before, "
        "and `stack up` goes by that"
    )


def clear_trial(session: Session) -> None:
    """Say that an upgrade was interrupted, and forget it; for a run that holds the project and goes by stack.lock."""
    if session.lock_file is not None:
        return
    said = describe_trial(replace(session, is_held=True))
    if said is not None:
        session.say(said)
    try:
        end_trial(session)
    except StackError as err:
        # It is in nobody's way.
        session.say(err.message)


def _find_name(tried: Path) -> str:
    try:
        engine = load_lock(tried).engine
    except ConfigError:
        return "…"
    return (engine.pinned or engine.commit or "…") if engine is not None else "…"
