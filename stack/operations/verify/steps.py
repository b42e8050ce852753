"""What `stack verify` does, step by step; each step gives an outcome, or raises what made it end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from stack.checks.finding import Outcome, Report, Status
from stack.errors import NotRunningError
from stack.operations.bench import run as bench
from stack.operations.bench.document import describe_outcome
from stack.operations.dashboards.check import check_dashboards
from stack.operations.history.open import open_project_history
from stack.operations.session import Session
from stack.operations.smoke.run import run as run_smoke
from stack.operations.status.read import Status as StackStatus
from stack.operations.status.read import read_status
from stack.operations.up.run import run_up
from stack.operations.verify.faults import kill_engine, kill_prometheus

_BENCH_SECONDS = 10.0
_NAMED = 3
_WORDS: tuple[tuple[Status, str], ...] = (("pass", "passed"), ("warn", "warned"), ("skip", "skipped"))


@dataclass
class Chain:
    """What the steps of one run share.

    Attributes:
        session: The run of the tool.
        preset: The bench's load, or None for its own choice.
        was_serving: Whether the engine ran before.
        status: What ran when it was last looked at.
        runs: The names of the runs that steps left in the history, by step.
        sleep: Waits for seconds.
    """

    session: Session
    preset: str | None
    was_serving: bool
    status: StackStatus | None = None
    runs: dict[str, str] = field(default_factory=dict)
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        name: Its name, for `--skip`.
        title: What it does, in words.
        run: Does it.
        needs: Steps without whose success it cannot run.
        is_fault: Whether it breaks something on purpose.
    """

    name: str
    title: str
    run: Callable[[Chain], Outcome]
    needs: tuple[str, ...] = ("up",)
    is_fault: bool = False


def bring_up(chain: Chain) -> Outcome:
    """Bring the stack up to what the configuration says."""
    result = run_up(chain.session)
    chain.status = read_status(chain.session)
    if not result.plan.steps:
        return Outcome("pass", "it runs as it is configured: nothing to do")
    done = ", ".join(step.name for step in result.plan.steps)
    if result.boot is None:
        return Outcome("pass", done)
    chain.runs["up"] = f"boot-{result.boot.boot_id}"
    return Outcome("pass", f"{done}; first token after {result.boot.total_seconds:.1f} s")


def try_answers(chain: Chain) -> Outcome:
    """Run the smoke test."""
    report = run_smoke(chain.session)
    kept = open_project_history(chain.session).last_smoke()
    if kept is not None:
        chain.runs["smoke"] = f"smoke-{kept.id}"
    failed = [finding for finding in report.findings if finding.status == "fail"]
    if failed:
        said = "; ".join(f"{finding.check}: {finding.message}" for finding in failed)
        return Outcome("fail", said, failed[0].hint)
    return Outcome("pass", _count(report))


def check_boards(chain: Chain) -> Outcome:
    """Check dashboards, rules and alerts."""
    status = read_status(chain.session)
    if not status.is_serving:
        raise NotRunningError("engine", chain.session.project)
    is_watched = any(one.name == "prometheus" and one.state == "running" for one in status.services)
    checked = check_dashboards(chain.session, (), engine=None, prometheus=None, inventory=None, is_strict=is_watched)
    outcomes = [answer.outcome for answer in checked.answers]
    said = f"{len(checked.queries)} queries"
    if outcomes:
        said += ": " + ", ".join(f"{outcomes.count(name)} {name}" for name in dict.fromkeys(outcomes))
    if checked.is_passed:
        return Outcome("pass", said)
    wrong = [str(fault) for fault in checked.faults if fault.severity == "error"]
    wrong += [f"{one.query.place}: {one.reason}" for one in checked.answers if one.outcome in checked.failing_outcomes]
    named = "; ".join(dict.fromkeys(wrong[:_NAMED]))
    return Outcome("fail", f"{said}; {named}", "`stack dashboards check` shows all of them")


def measure(chain: Chain) -> Outcome:
    """Run a short bench."""
    options = bench.BenchOptions(preset=chain.preset, repeats=1, seconds=_BENCH_SECONDS)
    document = bench.run(chain.session, options)
    if document["is_interrupted"]:
        raise KeyboardInterrupt
    if document["run"]:
        chain.runs["bench"] = f"bench-{document['run']}"
    hint = None if document["is_passed"] else "`stack bench` measures again, and longer"
    return Outcome("pass" if document["is_passed"] else "fail", describe_outcome(document), hint)


STEPS = (
    Step("up", "bring the stack up", bring_up, needs=()),
    Step("smoke", "test whether it answers correctly", try_answers),
    Step("dashboards", "check dashboards, rules and alerts", check_boards),
    Step("bench", "measure a short load", measure),
    Step("engine-killed", "kill the engine's processes", kill_engine, is_fault=True),
    Step("prometheus-killed", "kill Prometheus", kill_prometheus, is_fault=True),
)


def _count(report: Report) -> str:
    counts = {word: report.count(status) for status, word in _WORDS}
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count)
