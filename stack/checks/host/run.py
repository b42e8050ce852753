"""Runs the host checks side by side, each with a time limit; nothing that they do can end the run."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from stack.checks.finding import Finding, Outcome, Report
from stack.checks.host.check import HostCheck, HostContext
from stack.checks.host.registry import load_checks

logger = logging.getLogger(__name__)

_NO_DOCKER = "not asked: the Docker daemon does not answer"


def run_host_checks(
    context: HostContext,
    *,
    checks: Sequence[HostCheck] | None = None,
    is_quick_only: bool = False,
    patience: float = 1.0,
    clock: Callable[[], float] = time.monotonic,
) -> Report:
    """Run the checks and report what they found, in the order of the report.

    Args:
        context: What is wanted, and the machine.
        checks: Other checks than those of the registry.
        is_quick_only: Run only those of the preflight.
        patience: What every check's time limit is multiplied by.
        clock: Monotonic seconds.
    """
    began = clock()
    chosen = [
        replace(check, limit_seconds=check.limit_seconds * patience)
        for check in (load_checks() if checks is None else checks)
        if check.is_quick or not is_quick_only
    ]
    answers: queue.SimpleQueue[tuple[HostCheck, Outcome, float]] = queue.SimpleQueue()

    def call(check: HostCheck) -> None:
        answers.put((check, run_guarded(check, context), clock() - began))

    for check in chosen:
        # Daemons: a probe that hangs can be left behind, not stopped.
        threading.Thread(target=call, args=(check,), name=f"check-{check.name}", daemon=True).start()
    found = _collect(answers, chosen, began, clock)
    return Report(findings=tuple(found[check.name] for check in chosen), seconds=clock() - began)


def _collect(
    answers: queue.SimpleQueue[tuple[HostCheck, Outcome, float]],
    checks: Sequence[HostCheck],
    began: float,
    clock: Callable[[], float],
) -> dict[str, Finding]:
    waiting = {check.name: check for check in checks}
    found: dict[str, Finding] = {}
    while waiting:
        left = began + min(check.limit_seconds for check in waiting.values()) - clock()
        try:
            check, outcome, seconds = answers.get(timeout=max(0.0, left))
        except queue.Empty:
            now = clock() - began
            for check in [check for check in waiting.values() if check.limit_seconds <= now]:
                del waiting[check.name]
                silent = build_silent_outcome(f"no answer within {check.limit_seconds:g} s")
                found[check.name] = _build_finding(check, silent, now)
            continue
        if waiting.pop(check.name, None) is not None:
            found[check.name] = _build_finding(check, outcome, seconds)
            logger.debug("check %s: %s in %.2f s", check.name, outcome.status, seconds)
    return found


def run_guarded(check: HostCheck, context: HostContext) -> Outcome:
    """Run one check in this thread; what it raises becomes what it found."""
    try:
        if check.needs_docker and context.read_docker().info is None:
            return Outcome("skip", _NO_DOCKER)
        return check.run(context)
    except TimeoutError as err:
        return build_silent_outcome(str(err))
    except Exception as err:  # noqa: BLE001 - whatever a probe meets on a strange machine, the others go on
        logger.debug("check %s stumbled", check.name, exc_info=True)
        return Outcome(
            "fail" if check.is_decisive else "warn",
            f"the check itself failed: {type(err).__name__}: {err}",
            hint="`stack -vv doctor` shows where; the other checks are not touched by it",
            why="nothing is known about what it looks at",
        )


def build_silent_outcome(said: str) -> Outcome:
    """Give what is made of a check that did not end in time: never a reason to refuse."""
    return Outcome(
        "warn",
        said,
        hint="run `stack doctor` again; if it stays silent, what it asks hangs",
        why="nothing is known about what it looks at",
    )


def _build_finding(check: HostCheck, outcome: Outcome, seconds: float) -> Finding:
    return Finding(check.name, outcome.status, outcome.message, seconds, outcome.hint, dict(outcome.data), outcome.why)
