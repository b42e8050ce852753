"""Runs the checks: two lanes side by side, a time limit for each check and one for all."""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from stack.checks.finding import Finding, Report
from stack.checks.smoke.baseline import build_baseline
from stack.checks.smoke.check import Check, Outcome, SmokeContext
from stack.checks.smoke.registry import load_checks
from stack.checks.smoke.target import SmokeTarget
from stack.errors import ServiceApiError, StackError

logger = logging.getLogger(__name__)

Progress = Callable[[Finding], None]

# One check may take a third of the whole run's time: what hangs leaves time for two more to say so.
_SHARE = 3.0


def run_smoke(
    target: SmokeTarget,
    *,
    checks: Sequence[Check] | None = None,
    on_finding: Progress = lambda finding: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Report:
    """Run all checks that fit the model and report what they found.

    Args:
        target: The running stack.
        checks: Other checks than those of the registry.
        on_finding: Called as each check ends, one call at a time, from another thread than the caller's.
        clock: Monotonic seconds.
        sleep: Waits for some seconds.
    """
    began = clock()
    context = SmokeContext(target, clock=clock, sleep=sleep)
    if target.contract is not None:
        target.contract.begin()
    kind = "pooling" if target.model.is_pooling else "generation"
    chosen = [check for check in (load_checks() if checks is None else checks) if check.model in ("any", kind)]
    runner = _Runner(context, began + target.config.timeout_seconds, on_finding)
    lanes = [[check for check in chosen if check.lane == lane] for lane in ("engine", "side")]
    threads = [threading.Thread(target=runner.run_lane, args=(lane,), daemon=True) for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    findings = tuple(runner.findings[check.name] for check in chosen)
    return Report(
        findings=findings,
        commit=target.identity.found_commit,
        commit_level=target.identity.found_level,
        model=target.model.id,
        revision=target.model.revision,
        seconds=clock() - began,
        baseline=build_baseline(target.model.revision, context.measured, findings),
    )


class _Runner:
    def __init__(self, context: SmokeContext, deadline: float, on_finding: Progress) -> None:
        self.findings: dict[str, Finding] = {}
        self._context = context
        self._deadline = deadline
        self._on_finding = on_finding
        self._lock = threading.Lock()

    def run_lane(self, checks: Sequence[Check]) -> None:
        for check in checks:
            finding = self._run_check(check)
            logger.debug("check %s: %s in %.2f s", check.name, finding.status, finding.seconds)
            with self._lock:
                self.findings[check.name] = finding
                self._on_finding(finding)

    def _run_check(self, check: Check) -> Finding:
        broken = [need for need in check.needs if self._is_broken(need)]
        if broken:
            return Finding(check.name, "skip", f"not run, as `{broken[0]}` did not pass")
        clock = self._context.clock
        began = clock()
        longest = check.limit_seconds or self._context.target.config.timeout_seconds / _SHARE
        limit = min(longest, self._deadline - began)
        if limit <= 0:
            return Finding(check.name, "fail", "not run: the time for the whole smoke test is over", hint=_TIME_HINT)
        outcome = _run_limited(check, self._context, limit)
        return Finding(check.name, outcome.status, outcome.message, clock() - began, outcome.hint, dict(outcome.data))

    def _is_broken(self, need: str) -> bool:
        found = self.findings.get(need)
        return found is not None and found.status in ("fail", "skip")


_TIME_HINT = "raise `smoke.timeout-seconds`, or see `stack logs engine` for what the engine is busy with"


def _run_limited(check: Check, context: SmokeContext, limit_seconds: float) -> Outcome:
    """Run one check in its own thread; one over its time is left behind, as it cannot be stopped."""
    box: list[Outcome] = []

    def call() -> None:
        box.append(_run_guarded(check, context))

    thread = threading.Thread(target=call, name=f"check-{check.name}", daemon=True)
    thread.start()
    thread.join(limit_seconds)
    if box:
        return box[0]
    where = _find_place(thread)
    said = f"no result within {limit_seconds:.0f} s" + (f"; it waits in `{where}`" if where else "")
    return Outcome("fail", said, _TIME_HINT)


def _find_place(thread: threading.Thread) -> str | None:
    """Give the check's own line that a thread is in: what it waits for is what the engine does not give."""
    frame = sys._current_frames().get(thread.ident or 0)
    if frame is None:
        return None
    lines = [item for item in traceback.extract_stack(frame) if Path(item.filename).name.startswith("check_")]
    return lines[-1].line if lines else None


def _run_guarded(check: Check, context: SmokeContext) -> Outcome:
    try:
        return check.run(context)
    except ServiceApiError as err:
        return Outcome("fail", err.message, err.hint)
    except StackError as err:
        return Outcome("fail", err.message, err.hint)
    except (ValueError, KeyError, TypeError, LookupError, ArithmeticError, AttributeError, OSError) as err:
        # A check meets whatever a broken engine sends: the one that stumbles over it failed, the others go
        # on.
        logger.debug("check %s stumbled", check.name, exc_info=True)
        return Outcome("fail", f"the check stumbled over an answer: {type(err).__name__}: {err}")
