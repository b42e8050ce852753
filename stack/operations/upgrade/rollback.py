"""`stack rollback`: return to a lock that passed smoke, with nothing but what is on this machine."""

from __future__ import annotations

import datetime
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from stack.config.lock import Lock, load_lock, write_lock
from stack.containers.daemon import read_image
from stack.errors import ConfigError, ImageError, ModelError, Problem, StackError
from stack.images.archive_store import Archive
from stack.operations.annotations.kinds import annotate_rollback
from stack.operations.history.open import open_project_history
from stack.operations.images.archived import find_archived_ids, read_archived
from stack.operations.images.keep import keep_engine
from stack.operations.images.resolve import build_lock_key
from stack.operations.project import load_facts
from stack.operations.session import Session, hold_project
from stack.operations.up.outcome import UpResult
from stack.operations.up.run import run_up
from stack.operations.upgrade.compare import find_failed
from stack.operations.upgrade.leftover import clear_trial, end_trial, start_trial_of
from stack.operations.upgrade.measure import run_smoke
from stack.operations.upgrade.rollback_find import KEPT_LOCKS, Candidate, choose_candidate, find_candidates, find_place


class NoWayBackError(StackError):
    """What a lock that passed smoke needs is not here; the exit code tells whether image or model."""

    def __init__(self, candidate: Candidate, err: StackError) -> None:
        self.exit_code = err.exit_code
        super().__init__(
            f"nothing was stopped: {describe_candidate(candidate)} cannot run without a network\n{err.message}",
            hint="`stack rollback --list` shows what is here; with a network `stack upgrade COMMIT` fetches it again",
            detail=err.detail,
        )


class RollbackFailedError(StackError):
    """The lock is back and its engine does not come up; the exit code is that of what stopped it."""

    def __init__(self, candidate: Candidate, err: StackError) -> None:
        self.exit_code = err.exit_code
        super().__init__(
            f"stack.lock is that of {describe_candidate(candidate)} again, and it does not come up: {err.message}",
            hint=f"`stack up` tries again; `stack rollback --to N` takes an older one\n{err.hint or ''}".rstrip(),
            detail=err.detail,
        )


@dataclass
class RollbackResult:
    """What a rollback did.

    Attributes:
        candidate: Where it went back to.
        boot_seconds: What the boot took; None where the engine ran already.
        failed: Smoke checks that fail on it now.
        warnings: What the user should know.
    """

    candidate: Candidate
    boot_seconds: float | None = None
    failed: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def list_candidates(session: Session) -> list[tuple[Candidate, str]]:
    """Give what can be gone back to, and where the engine of each is.

    Raises:
        StackError: The history cannot be read.
    """
    client = session.connect()
    device = session.config.engine.device
    archive = Archive(session.config.images.archive_dir)
    archived = read_archived(archive, session.say)
    known = load_facts(session.paths.facts).image_ids
    found = []
    for item in _read_candidates(session):
        own = device if device != "auto" else _find_device(item.lock)
        ids = {**find_archived_ids(archive, archived, item.lock), **known}
        place = find_place(
            item.lock, own, lambda name: read_image(client, name), ids, session.config.images.mirror, archived
        )
        found.append((item, place))
    return found


def run_rollback(session: Session, asked: str | None = None) -> RollbackResult:
    """Go back to a lock that passed smoke, boot it and test it; asks nobody outside of this machine.

    Args:
        session: The run, whose configuration is offline.
        asked: Which one, by its number in the list or by its commit; None takes the one that passed last.

    Raises:
        ConfigError: There is none, or the configuration asks for another engine.
        NoWayBackError: Something of it is not here; nothing was stopped.
        RollbackFailedError: It does not come up.
    """
    now = datetime.datetime.now(datetime.UTC)
    with hold_project(session, "rollback"):
        own = replace(session, is_held=True)
        clear_trial(own)
        candidate = choose_candidate(_read_candidates(own), asked)
        look = _look(own, candidate)
        session.say(f"going back to {describe_candidate(candidate)}")
        # First of all: whatever happens from here on, the next `up` goes on to where we go.
        write_lock(own.lock_path, candidate.lock)
        result = RollbackResult(candidate, warnings=list(look.warnings))
        passed = False
        try:
            up = run_up(own)
            result.boot_seconds = up.boot.total_seconds if up.boot is not None else None
            result.failed = find_failed(run_smoke(own))
            passed = not result.failed
        except StackError as err:
            raise RollbackFailedError(candidate, err) from err
        finally:
            boot = load_facts(own.paths.facts).last_boot if passed else None
            open_project_history(own).note_run(
                "rollback", now, boot, passed, build_document(result) | {"passed": passed}
            )
            annotate_rollback(own, f"to {describe_candidate(candidate)}", passed, now)
        warning = keep_engine(own, look.resolved.device.device, now)
        result.warnings += [warning] if warning else []
        return result


def describe_candidate(candidate: Candidate) -> str:
    """Name a lock by its engine and by when it passed."""
    passed = candidate.passed
    commit = f"commit {passed.commit[:12]}" if passed.commit else "unknown commit"
    when = f"{passed.passed_at:%Y-%m-%d %H:%M} UTC"
    return f"vLLM {passed.version or 'of unknown version'} ({commit}), which passed smoke on {when}"


def build_document(result: RollbackResult) -> dict[str, Any]:
    """Give the result as a JSON document."""
    return {
        "schema_version": 1,
        **describe_lock(result.candidate),
        "boot_seconds": result.boot_seconds,
        "passed": not result.failed,
        "failed": list(result.failed),
        "warnings": list(result.warnings),
    }


def describe_lock(candidate: Candidate) -> dict[str, Any]:
    """Give what can be gone back to as a JSON document."""
    passed = candidate.passed
    return {
        "number": candidate.number,
        "commit": passed.commit,
        "version": passed.version,
        "model": passed.model,
        "revision": passed.revision,
        "passed_at": passed.passed_at.isoformat(timespec="seconds"),
        "lock_sha256": passed.sha256,
        "changes": [asdict(change) for change in candidate.changes],
    }


def _read_candidates(session: Session) -> list[Candidate]:
    try:
        present = load_lock(session.lock_path)
    except ConfigError as err:
        session.say(f"{err.message}; a rollback replaces it")
        present = None
    passed = open_project_history(session).find_passed_locks(KEPT_LOCKS + 1)
    return find_candidates(passed, present)


def _look(session: Session, candidate: Candidate) -> UpResult:
    """See whether everything of a lock is here and would be used, changing nothing."""
    trial = replace(session, lock_file=start_trial_of(session, candidate.lock))
    try:
        look = run_up(trial, dry_run=True)
    except (ImageError, ModelError) as err:
        raise NoWayBackError(candidate, err) from err
    finally:
        end_trial(session)
    _demand_used(look, candidate.lock)
    return look


def _demand_used(look: UpResult, lock: Lock) -> None:
    """Refuse a lock that the configuration would pass over, as `stack pin` refuses such a pin."""
    device, need = look.resolved.device.device, look.resolved.needs["engine"]
    entry = lock.images.get(build_lock_key("engine", device))
    if entry is None:
        raise ConfigError([Problem("engine.device", f"is {device} here, and that lock has no engine for it")])
    wanted = need.wanted.reference.digest if need.wanted is not None else None
    if entry.source != need.source or (entry.digest is not None and wanted != entry.digest):
        message = f"the configuration comes to {need.name}, and that lock has {entry.digest or entry.reference}"
        hint = "take `engine.commit`, `engine.version` or `engine.image` away, or set it to what that lock has"
        raise ConfigError([Problem("engine", message)], hint=hint)


def _find_device(lock: Lock) -> str:
    return next((name.removeprefix("engine/") for name in lock.images if name.startswith("engine/")), "cpu")
