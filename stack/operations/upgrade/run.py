"""`stack upgrade`: try another engine against the one that runs, then keep it or bring the old one back."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stack.config.lock import load_lock, write_lock
from stack.errors import ConfigError, NotRunningError, Problem, StackError
from stack.operations.annotations.kinds import annotate_upgrade
from stack.operations.history.open import open_project_history
from stack.operations.images.fetch import ImageFetcher
from stack.operations.images.keep import keep_engine
from stack.operations.pin.run import run_pin
from stack.operations.project import load_facts
from stack.operations.session import Session, check_tools, hold_project
from stack.operations.status.read import Status, read_status
from stack.operations.up.outcome import UpResult
from stack.operations.up.plan import render_plan
from stack.operations.up.run import run_up
from stack.operations.upgrade.compare import compare_engines, describe_pace, find_failed, judge
from stack.operations.upgrade.leftover import clear_trial, end_trial, start_trial
from stack.operations.upgrade.measure import find_later_series, load_queries, measure_engine, run_smoke
from stack.operations.upgrade.result import Force, UpgradeResult, UpgradeStrandedError, build_document, describe_outcome
from stack.traffic.record import Record
from stack.traffic.record_file import load_builtin_records, load_records

_STEPS = 6
_LOOKED_AT_BOOTS = 50
# A check that fails though the engine answers rightly: which metric its dashboards lack, only the comparison names.
_WATCHING = {"dashboards"}
_UP_FIRST = "`stack up` first: there is nothing to measure against"


@dataclass(frozen=True)
class UpgradeOptions:
    """How an upgrade is done.

    Attributes:
        cuda: The CUDA variant, as `stack pin` takes it.
        repository: A local clone of vLLM.
        anyway: Try an image that does not fit this machine.
        records: A file of records that is sent to both engines; None sends the built-in ones.
        force: What is done whatever the comparison says; an engine that does not boot is never kept.
    """

    cuda: str | None = None
    repository: Path | None = None
    anyway: bool = False
    records: Path | None = None
    force: Force | None = None


def run_upgrade(
    session: Session, text: str, options: UpgradeOptions, *, confirm: Callable[[str], bool]
) -> UpgradeResult:
    """Try another engine; keep it, or bring the old one back.

    Nothing but the last step of one that is kept touches stack.lock.

    Args:
        session: The run.
        text: What `stack pin` takes.
        options: How.
        confirm: Asks before the service is taken away.

    Raises:
        ConfigError: The configuration asks for another engine, or the stack is not as it says.
        NotRunningError: No engine serves, so there is nothing to measure against.
        ImageError: The new one cannot be had.
        UpgradeStrandedError: Neither engine serves now.
    """
    now = datetime.datetime.now(datetime.UTC)
    with hold_project(session, f"upgrade {text}"):
        own = replace(session, is_held=True)
        clear_trial(own)
        tried, before = _start(own)
        upgrade = _Upgrade(own, replace(own, lock_file=tried), replace(own, lock_file=before), options, now)
        try:
            result = upgrade.run(text, confirm)
        except KeyboardInterrupt:
            is_kept = session.lock_path.read_bytes() != before.read_bytes()
            named = "names the new engine" if is_kept else "is as it was"
            session.say(f"interrupted: stack.lock {named}, and `stack up` goes by that")
            raise
        except StackError:
            end_trial(own)
            raise
        end_trial(own)
        return result


def _start(session: Session) -> tuple[Path, Path]:
    if not session.lock_path.is_file():
        raise NotRunningError("engine", session.project, hint=_UP_FIRST)
    return start_trial(session)


class _Upgrade:
    """One upgrade: the session of the project, and one with a lock of its own for either engine."""

    def __init__(
        self, session: Session, trial: Session, back: Session, options: UpgradeOptions, now: datetime.datetime
    ) -> None:
        self.session, self.trial, self.back, self.options, self.now = session, trial, back, options, now
        self.records: Sequence[Record] | None = None
        self.began = 0.0

    def run(self, text: str, confirm: Callable[[str], bool]) -> UpgradeResult:
        options = self.options
        if options.records is not None:
            self.records = load_records(options.records)
        self._tell(1, f"find {text}; the old engine serves on until step 4")
        # A configuration that would not use a pin is refused before anything is asked.
        pin = run_pin(
            self.trial, text, cuda=options.cuda, repository=options.repository, anyway=options.anyway,
            command="stack upgrade", now=self.now,
        )  # fmt: skip
        status = self._demand_present()
        result = UpgradeResult(pin, load_lock(self.session.lock_path).engine, options.force, self.now)
        self._tell(2, f"have {pin.image.reference} here")
        look = self._fetch()
        if not (look.plan.has("services") or look.plan.has("boot")):
            # The same image by another name: nothing but the pin is new.
            self._write(result)
            result.outcome = "same"
            return result
        if not self._ask(result, status, confirm):
            result.outcome = "declined"
            return result
        is_booted = self._try(result, look, status)
        try:
            self._end(result, is_booted)
        finally:
            boot = result.new.boot.id if result.new is not None else None
            history = open_project_history(self.session)
            history.note_run("upgrade", self.now, boot, not result.against, build_document(result))
            annotate_upgrade(self.session, result.outcome, describe_outcome(result), result.against, self.now)
        return result

    def _demand_present(self) -> Status:
        """Give the status of the engine that serves as it should: only then does one change tell."""
        check_tools(self.session)
        status = read_status(self.session)
        if not status.is_serving or status.boot is None:
            raise NotRunningError("engine", self.session.project, hint=_UP_FIRST)
        plan = run_up(self.back, dry_run=True).plan
        if plan.steps:
            problem = f"what runs is not what stack.toml and stack.lock come to:\n{render_plan(plan)}"
            raise ConfigError([Problem("", problem)], hint="`stack up` first, so that the engine is all that changes")
        return status

    def _fetch(self) -> UpResult:
        """Have the new engine's image here, and give what is left to do with it."""
        look = run_up(self.trial, dry_run=True)
        need = look.resolved.needs["engine"]
        if need.action == "none":
            return look
        fetcher = ImageFetcher(self.trial, self.session.connect(), look.resolved)
        try:
            if need.action == "build":
                fetcher.build_base()
            fetcher.fetch(need)
        except KeyboardInterrupt:
            fetcher.stop()
            raise
        # Anew: its identity is checked now, while the old one still serves.
        return run_up(self.trial, dry_run=True)

    def _ask(self, result: UpgradeResult, status: Status, confirm: Callable[[str], bool]) -> bool:
        assert status.boot is not None
        boots = open_project_history(self.session).recent_boots(_LOOKED_AT_BOOTS)
        result.announced_seconds, pace = describe_pace(boots, status.boot)
        self.session.say(f"the service will be away {pace}; as long again if the old engine has to come back")
        return confirm("take the service away and try the new engine?")

    def _try(self, result: UpgradeResult, look: UpResult, status: Status) -> bool:
        """Measure the old engine, switch, and measure the new one; tell whether that booted."""
        facts = look.resolved.model_facts
        is_pooling = bool(facts and facts.is_pooling)
        records = self.records if self.records is not None else load_builtin_records(is_pooling=is_pooling)
        self._tell(3, f"measure the old engine: {len(records)} records, scores, metrics, a short load")
        passed = status.smoke.report if status.smoke is not None and status.smoke.passed else None
        result.old = measure_engine(self.back, passed or run_smoke(self.back), records, is_pooling=is_pooling)
        self._tell(4, "stop the old engine and start the new one")
        self.began = time.monotonic()
        try:
            up = run_up(self.trial)
            result.warnings += up.warnings
        except StackError as err:
            result.against.append(f"it does not come up: {err.message}")
            return False
        result.away_seconds = self._find_away(up)
        self._tell(5, "test the new engine, and measure it the same way")
        try:
            report = run_smoke(self.trial)
            is_worse = bool(set(find_failed(report)) - set(find_failed(result.old.smoke)) - _WATCHING)
            # Every further request is one more that its users wait for.
            is_brief = is_worse and self.options.force != "keep"
            result.new = measure_engine(self.trial, report, records, is_pooling=is_pooling, is_brief=is_brief)
        except StackError as err:
            result.against.append(f"it cannot be measured: {err.message}")
            return True
        later = find_later_series(result.new.boot.start.version)
        result.differences = compare_engines(result.old, result.new, records, load_queries(), later)
        result.against += judge(result.differences)
        return True

    def _end(self, result: UpgradeResult, is_booted: bool) -> None:
        force = self.options.force
        if is_booted and (force == "keep" if force is not None else not result.against):
            self._tell(6, "keep the new engine: write stack.lock")
            self._write(result)
            self._name_locks(result)
            result.outcome = "kept"
            return
        self._tell(6, f"bring the old engine back: {'; '.join(result.against) or '`--rollback` was said'}")
        try:
            result.away_seconds = self._find_away(run_up(self.back))
            failed = find_failed(run_smoke(self.back))
        except StackError as err:
            result.outcome = "stranded"
            raise UpgradeStrandedError(result.pin.target.text, result.against, err) from err
        result.outcome = "back"
        if failed:
            result.warnings.append(f"smoke fails on the old engine now: {', '.join(failed)}")

    def _find_away(self, up: UpResult) -> float:
        """Give for how long nobody was served: while the engine is warmed for smoke it answers others already."""
        return time.monotonic() - self.began - (up.boot.warm_seconds if up.boot is not None else 0.0)

    def _write(self, result: UpgradeResult) -> None:
        write_lock(self.session.lock_path, load_lock(self.trial.lock_path))
        warning = keep_engine(self.session, result.pin.device, self.now)
        if warning:
            result.warnings.append(warning)

    def _name_locks(self, result: UpgradeResult) -> None:
        """From here on one can go back to the old lock, and later to the new one: what was tried only had none."""
        history, new = open_project_history(self.session), load_facts(self.session.paths.facts).last_boot
        if new is not None:
            history.name_lock(new, history.note_lock(self.session.lock_path.read_text(), self.now))
        if result.old is not None and result.old.boot.start.lock_sha256 is None:
            history.name_lock(result.old.boot.id, history.note_lock(self.back.lock_path.read_text(), self.now))

    def _tell(self, number: int, what: str) -> None:
        self.session.say(f"step {number} of {_STEPS}: {what}")
