"""What an annotation says of each kind of run that the tool makes by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from stack.checks.finding import Report
from stack.errors import StackError
from stack.history.records import BootRecord
from stack.history.store import History
from stack.operations.annotations.send import annotate_run
from stack.operations.session import Session

_NAMED = 5
_OUTCOMES = {"back": "rolled back", "stranded": "failed"}


def annotate_boot(session: Session, boot_id: int) -> None:
    """Tell of a boot that ended, whether well or not; never fails."""
    try:
        boot = History(session.paths.history).load_boot(boot_id)
    except StackError as err:
        session.warn(f"Grafana does not show this boot: {err.message}")
        return
    if boot is None:
        return
    started, ended = boot.start.started_at, None
    if boot.total_seconds is not None:
        ended = started + timedelta(seconds=boot.total_seconds)
    title = f"boot {boot.outcome or 'unfinished'}"
    annotate_run(session, kind="boot", title=title, text=describe_boot(boot), tags=(), started=started, ended=ended)


def describe_boot(boot: BootRecord) -> str:
    """Say what a boot started and how long it took."""
    start = boot.start
    commit = f"commit {start.commit[:12]}, {start.commit_level}" if start.commit else "commit unknown"
    said = f"vLLM {start.version or 'of unknown version'} ({commit}) with {start.model}"
    if boot.total_seconds is None:
        return said
    if boot.outcome != "ready":
        return f"{said}: {boot.outcome} after {boot.total_seconds:.1f} s"
    phases = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in boot.phases.items())
    return f"{said}: first token after {boot.total_seconds:.1f} s, caches {boot.cache_state}" + (
        f" ({phases})" if phases else ""
    )


def annotate_smoke(session: Session, report: Report, started: datetime) -> None:
    """Tell of a smoke run; never fails."""
    failed = [finding.check for finding in report.findings if finding.status == "fail"]
    text = f"{len(report.findings)} checks in {report.seconds:.1f} s" + (f", failed: {_join(failed)}" if failed else "")
    _annotate(session, "smoke", report.is_passed, text, started, report.seconds)


def annotate_upgrade(session: Session, outcome: str, said: str, against: Sequence[str], started: datetime) -> None:
    """Tell of an upgrade that came to an end, and of the engine that came back; never fails."""
    if outcome == "interrupted":
        return
    text = f"neither engine serves: {'; '.join(against)}" if outcome == "stranded" else said
    title, ended = f"upgrade {_OUTCOMES.get(outcome, outcome)}", datetime.now(UTC)
    annotate_run(session, kind="upgrade", title=title, text=text, tags=(), started=started, ended=ended)


def annotate_rollback(session: Session, text: str, passed: bool, started: datetime) -> None:
    """Tell of a way back to an older lock; never fails."""
    title, ended = _say("rollback", passed), datetime.now(UTC)
    annotate_run(session, kind="rollback", title=title, text=text, tags=(), started=started, ended=ended)


def annotate_replay(session: Session, document: Mapping[str, Any], started: datetime) -> None:
    """Tell of a replay; never fails."""
    counts, records = document["counts"], document["records"]
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    text = f"{records['ended']} of {records['total']} requests answered{f': {said}' if said else ''}"
    _annotate(session, "replay", document["is_passed"], text, started, document["duration_seconds"])


def annotate_demo(session: Session, document: Mapping[str, Any], started: datetime) -> None:
    """Tell of a demo; never fails."""
    outcomes = {name: count for name, count in document["now"]["outcomes"].items() if count}
    said = ", ".join(f"{count} {name}" for name, count in outcomes.items())
    phases = ", ".join(phase["name"] for phase in document["phases"])
    text = f"{document['records']['ended']} requests{f': {said}' if said else ''} ({phases})"
    _annotate(session, "demo", document["is_passed"], text, started, document["duration_seconds"])


def _annotate(session: Session, kind: str, passed: bool, text: str, started: datetime, seconds: float) -> None:
    ended = started + timedelta(seconds=seconds)
    annotate_run(session, kind=kind, title=_say(kind, passed), text=text, tags=(), started=started, ended=ended)


def _say(what: str, passed: bool) -> str:
    return f"{what} {'passed' if passed else 'failed'}"


def _join(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
