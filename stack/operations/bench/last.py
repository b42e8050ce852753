"""The last bench of the commit that runs, for reports about other things."""

from __future__ import annotations

from dataclasses import dataclass

from stack.errors import StackError
from stack.history.records import RunRecord
from stack.history.store import History
from stack.operations.bench.history import KIND, THROUGHPUT, find_doubt
from stack.operations.session import Session

_LOOKED_AT = 200


@dataclass(frozen=True)
class LastBench:
    """What the last bench of a commit came to.

    Attributes:
        run: Its name.
        commit: The commit.
        preset: Its load.
        at_knee: Requests a second at the knee, where it was a sweep.
        output_tokens_per_second: The median of its repeats, at the knee where it was a sweep.
        ttft_p95_seconds: Likewise.
        said: All that in one line.
    """

    run: str
    commit: str
    preset: str
    at_knee: float | None
    output_tokens_per_second: float
    ttft_p95_seconds: float | None
    said: str


def find_last_bench(session: Session) -> LastBench | None:
    """Give the last sound bench of the commit of the last boot, a sweep before others; None where there is none."""
    if not session.paths.history.is_file():
        return None
    # Not `open_history`: that checks and mends the file, and this only looks.
    history = History(session.paths.history)
    try:
        boots, runs = history.recent_boots(1), history.list_runs(KIND, _LOOKED_AT)
    except StackError as err:
        session.say(f"the last bench is not known: {err.message}")
        return None
    commit = boots[0].start.commit if boots else None
    fit = [run for run in runs if commit is not None and _is_sound(run, commit)]
    newest = next((run for run in fit if run.report.get("sweep")), next(iter(fit), None))
    return _read(newest, commit) if newest is not None and commit is not None else None


def _is_sound(run: RunRecord, commit: str) -> bool:
    engine, figures = run.report.get("engine") or {}, run.report.get("figures") or {}
    return engine.get("commit") == commit and THROUGHPUT in figures and find_doubt(run.report, "it") is None


def _read(run: RunRecord, commit: str) -> LastBench:
    report, name = run.report, f"{KIND}-{run.id}"
    figures, sweep = report["figures"], report.get("sweep")
    wait = figures.get("ttft_seconds.p95")
    said = f"{name} of {run.started_at:%Y-%m-%d %H:%M} UTC on this commit, {report.get('preset')}: {report.get('said')}"
    return LastBench(
        run=name,
        commit=commit,
        preset=str(report.get("preset")),
        at_knee=sweep["knee"]["rate"] if sweep else None,
        output_tokens_per_second=float(figures[THROUGHPUT]["median"]),
        ttft_p95_seconds=float(wait["median"]) if wait else None,
        said=said,
    )
