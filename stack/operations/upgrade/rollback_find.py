"""Which locks passed smoke and are not the present one, in what each differs, and whether its engine is at hand."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack.config.lock import Lock, parse_lock
from stack.errors import ConfigError, Problem, StackError
from stack.history.records import PassedLock
from stack.history.store import History
from stack.images.reference import parse_reference
from stack.images.references import WantedImage
from stack.operations.images.needs import resolve_registry_need

KEPT_LOCKS = 5
"""So many can be gone back to: their images are not pruned. Every commit that ever passed would fill any disk."""

_PREFIX = re.compile(r"[0-9a-f]{4,40}")


@dataclass(frozen=True)
class Change:
    """One thing in which two locks differ, in words; None where a lock has none."""

    what: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Candidate:
    """A lock that can be gone back to.

    Attributes:
        number: Its place in the list, the one that passed last first, from 1.
        passed: What history knows of it.
        lock: What it says.
        changes: What going back changes.
    """

    number: int
    passed: PassedLock
    lock: Lock
    changes: tuple[Change, ...]


def find_candidates(passed: Sequence[PassedLock], present: Lock | None) -> list[Candidate]:
    """Give the locks that would run something else than the present one; None is one that cannot be read."""
    found: list[Candidate] = []
    for item in passed:
        try:
            lock = parse_lock(item.text, Path(f"the lock that passed on {item.passed_at:%Y-%m-%d}"))
        except ConfigError:
            # A newer version wrote it; this one cannot go back there.
            continue
        changes = find_changes(present or Lock(), lock)
        # Two texts that run the same, as after a `stack pin` of what ran anyway, are one.
        if changes and all(find_changes(other.lock, lock) for other in found):
            found.append(Candidate(len(found) + 1, item, lock, tuple(changes)))
    return found


def find_changes(before: Lock, after: Lock) -> list[Change]:
    """Give in what two locks differ that makes another stack run; who vouched for an image does not."""
    old, new = _describe(before), _describe(after)
    names = [*new, *(name for name in old if name not in new)]
    return [Change(name, old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)]


def choose_candidate(candidates: Sequence[Candidate], asked: str | None) -> Candidate:
    """Give the lock that was asked for, by its number or its commit; without either the one that passed last.

    Raises:
        ConfigError: There is none like that.
    """
    hint = "`stack rollback --list` shows where one can go back to"
    if not candidates:
        message = "no other lock than the present one has passed smoke on this machine"
        raise ConfigError([Problem("", message)], hint="`stack history` lists what ran; `stack pin` names another")
    if asked is None:
        return candidates[0]
    word = asked.strip().lower()
    by_number = [item for item in candidates if str(item.number) == word]
    by_commit = [item for item in candidates if _PREFIX.fullmatch(word) and _commit(item).startswith(word)]
    found = by_number or by_commit
    if not found:
        raise ConfigError([Problem("--to", f"no lock that passed smoke is `{asked}`")], hint=hint)
    if len({_commit(item) for item in found}) > 1:
        raise ConfigError([Problem("--to", f"`{asked}` begins several commits")], hint=hint)
    return found[0]


def find_place(
    lock: Lock,
    device: str,
    find_image: Callable[[str], Mapping[str, Any] | None],
    image_ids: Mapping[str, str],
    mirror: Mapping[str, str],
    archived: Mapping[str, object],
) -> str:
    """Say where a lock's engine is: `here`, `in the archive`, or why it is neither."""
    entry = lock.images.get(f"engine/{device}")
    if entry is None:
        return f"it has none for {device}"
    reference = parse_reference(entry.reference)
    if entry.digest is None:
        return "here" if find_image(entry.reference) is not None else "gone: it is built anew by `stack up`"
    wanted = WantedImage("engine", reference.with_digest(entry.digest), None)
    if resolve_registry_need("engine", wanted, find_image, None, image_ids, mirror).action == "none":
        return "here"
    return "in the archive" if entry.digest in archived else "gone: a registry may have it"


def read_kept_digests(states: Path) -> dict[str, set[str]]:
    """Give the digests that the locks name to which some project can go back, by who they belong to.

    Args:
        states: The folder that holds the state of every project.
    """
    found = {}
    for path in sorted(states.glob("*/history.sqlite")):
        try:
            passed = History(path).find_passed_locks(KEPT_LOCKS + 1)
            locks = [parse_lock(item.text, path) for item in passed]
        except StackError:
            # An older history has no locks, and one that cannot be read tells of none.
            continue
        digests = {entry.digest for lock in locks for entry in lock.images.values() if entry.digest}
        found[f"`stack rollback` of project `{path.parent.name}`"] = digests
    return found


def _commit(item: Candidate) -> str:
    return item.passed.commit or (item.lock.engine.commit if item.lock.engine else None) or ""


def _describe(lock: Lock) -> dict[str, str | None]:
    engine, model = lock.engine, lock.model
    found: dict[str, str | None] = {}
    if engine is not None:
        found |= {"version": engine.version, "commit": engine.commit}
    for name, entry in sorted(lock.images.items()):
        found[f"image {name}"] = entry.digest or entry.reference
    if model is not None:
        found |= {"model": model.id, "revision": model.revision}
    return found
