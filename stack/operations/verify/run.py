"""`stack verify`: the whole chain on one stack, and one report that begins with the commit."""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stack.checks.finding import Finding, Outcome, Report
from stack.checks.report import build_document as build_report_document
from stack.errors import EXIT_CHECK_FAILED, EXIT_INTERRUPTED, StackError
from stack.operations.annotations.send import annotate_run
from stack.operations.down import run_down
from stack.operations.history.open import open_project_history
from stack.operations.run_metrics import write_metrics
from stack.operations.session import Session
from stack.operations.status.read import Status, read_status
from stack.operations.verify.steps import STEPS, Chain, Step
from stack.progress import ProgressEvent, State

SCHEMA_VERSION = 1
KIND = "verify"
_STATES: dict[str, State] = {"pass": "done", "warn": "done", "fail": "failed", "skip": "skipped"}


@dataclass(frozen=True)
class VerifyOptions:
    """What was asked for.

    Attributes:
        preset: The bench's load, or None for its own choice.
        skip: Names of steps to leave out.
        faults: Whether things are broken on purpose; None: only in a stack that this run brought up.
        takes_down: Whether a stack that this run brought up is stopped at the end.
    """

    preset: str | None = None
    skip: frozenset[str] = frozenset()
    faults: bool | None = None
    takes_down: bool = False


def run(session: Session, options: VerifyOptions, steps: Sequence[Step] = STEPS) -> dict[str, Any]:
    """Run the chain and give its document; what fails does not keep back what can still run.

    An interrupt ends it: what had run until then is in the document, and in the history.

    Raises:
        HostError: Docker does not answer.
    """
    started, began = datetime.datetime.now(datetime.UTC), time.monotonic()
    chain = Chain(session, options.preset, was_serving=read_status(session).is_serving)
    runner = _Runner(chain, options, len(steps))
    for number, step in enumerate(steps, 1):
        runner.take(number, step)
    status = chain.status or read_status(session)
    is_down = options.takes_down and runner.take_down()
    report = _build_report(status, runner.findings, time.monotonic() - began)
    document = _build_document(session, status, chain, report, started)
    document |= {"is_interrupted": runner.is_interrupted, "was_taken_down": is_down, "exit_code": runner.exit_code}
    document["run"] = _note(session, status, started, document)
    passed = "passed" if report.is_passed else "failed"
    told = ", ".join(f"{finding.check} {finding.status}" for finding in report.findings)
    if not is_down:
        ended = datetime.datetime.now(datetime.UTC)
        annotate_run(session, kind=KIND, title=f"verify {passed}", text=told, tags=(), started=started, ended=ended)
    return document


class _Runner:
    """Takes one step after another, whatever becomes of them."""

    def __init__(self, chain: Chain, options: VerifyOptions, total: int) -> None:
        self.findings: list[Finding] = []
        self.is_interrupted = self._has_failed = False
        self._first_code = 0
        self._chain, self._options, self._total = chain, options, total
        self._missing: set[str] = set()

    @property
    def exit_code(self) -> int:
        """Give 130 after an interrupt, 1 where a check failed, else that of the first step that could not be done."""
        if self.is_interrupted:
            return EXIT_INTERRUPTED
        return EXIT_CHECK_FAILED if self._has_failed else self._first_code

    def take_down(self) -> bool:
        """Stop a stack that this run brought up, and tell whether that was done; where it fails, it is a finding."""
        session = self._chain.session
        if self._chain.was_serving:
            session.say("the stack served before, so it is left running; `stack down` stops it")
            return False
        began = time.monotonic()
        outcome = self._run(_DOWN)
        is_done = outcome.status == "pass"
        if not is_done:
            self._tell(_DOWN, f"{outcome.status}: {outcome.message}", _STATES[outcome.status])
            seconds = time.monotonic() - began
            self.findings.append(Finding(_DOWN.name, outcome.status, outcome.message, seconds, outcome.hint))
        return is_done

    def take(self, number: int, step: Step) -> None:
        """Run a step, or say why it is not run."""
        began = time.monotonic()
        reason = self._find_reason(step)
        if reason is not None:
            outcome = Outcome("skip", reason)
            self._missing |= {step.name} if step.name not in self._options.skip else set()
        else:
            self._tell(step, f"step {number} of {self._total}: {step.title}", "running")
            outcome = self._run(step)
        seconds = time.monotonic() - began
        self._tell(step, f"{outcome.status}: {outcome.message}", _STATES[outcome.status])
        self.findings.append(Finding(step.name, outcome.status, outcome.message, seconds, outcome.hint, outcome.data))

    def _find_reason(self, step: Step) -> str | None:
        """Give why a step is not run, or None."""
        if self.is_interrupted:
            return "not run: it was interrupted before"
        if step.name in self._options.skip:
            return "left out, as --skip says"
        missing = [need for need in step.needs if need in self._missing]
        if missing:
            return f"not run, as `{missing[0]}` did not pass"
        if step.is_fault and self._options.faults is False:
            return "left out, as --no-faults says"
        if step.is_fault and self._options.faults is None and self._chain.was_serving:
            return "this stack served before, and others may use it: --faults breaks it all the same"
        return None

    def _run(self, step: Step) -> Outcome:
        try:
            outcome = step.run(self._chain)
        except KeyboardInterrupt:
            self.is_interrupted = True
            hint = "what was killed comes back by itself: `stack up` waits for it" if step.is_fault else None
            outcome = Outcome("fail", "interrupted", hint)
        except StackError as err:
            self._first_code = self._first_code or err.exit_code
            outcome = Outcome("fail", err.message, err.hint)
        else:
            self._has_failed = self._has_failed or outcome.status == "fail"
        if outcome.status == "fail":
            self._missing.add(step.name)
        return outcome

    def _tell(self, step: Step, text: str, state: State) -> None:
        self._chain.session.report(ProgressEvent(f"verify {step.name}", text, state=state))


def _stop(chain: Chain) -> Outcome:
    run_down(chain.session, volumes=False)
    return Outcome("pass", "stopped")


_DOWN = Step("down", "stop the stack", _stop, needs=())


def _build_report(status: Status, findings: Sequence[Finding], seconds: float) -> Report:
    start = status.boot.start if status.boot is not None else None
    engine = status.engine
    return Report(
        findings=tuple(findings),
        commit=engine.commit if engine is not None else None,
        commit_level=engine.commit_level if engine is not None else "unknown",
        model=start.model if start is not None else None,
        revision=start.revision if start is not None else None,
        seconds=seconds,
    )


def _build_document(
    session: Session, status: Status, chain: Chain, report: Report, started: datetime.datetime
) -> dict[str, Any]:
    told = build_report_document(report)
    return {
        "schema_version": SCHEMA_VERSION,
        "commit": report.commit,
        "commit_level": report.commit_level,
        "project": session.project,
        "started_at": started.isoformat(timespec="seconds"),
        "duration_seconds": told["seconds"],
        "is_passed": report.is_passed,
        "engine": {
            "commit": report.commit,
            "commit_level": report.commit_level,
            "version": status.engine.version if status.engine is not None else None,
            "served_model": status.served_name,
            "boot": status.boot.id if status.boot is not None else None,
        },
        "model": report.model,
        "revision": report.revision,
        "was_serving": chain.was_serving,
        "runs": dict(chain.runs),
        "checks": told["checks"],
    }


def _note(session: Session, status: Status, started: datetime.datetime, document: dict[str, Any]) -> int | None:
    """Keep the run; give its number, or None where that cannot be done: the result stands without it."""
    try:
        history = open_project_history(session)
        boot_id = status.boot.id if status.boot is not None else None
        number = history.note_run(KIND, started, boot_id, document["is_passed"], document)
        write_metrics(session, history)
        return number
    except StackError as err:
        session.say(f"this run is not in the history, or not in the metrics: {err.message}")
        return None
