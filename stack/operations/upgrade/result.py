"""What an upgrade did and found: as data, as a JSON document, and as the rows of a table. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from stack.config.lock import LockedEngine
from stack.errors import StackError
from stack.operations.pin.run import PinResult, describe_entry
from stack.operations.upgrade.compare import Differences, Measured, join_few
from stack.traffic.comparison import Comparison, ComparisonReport

Force = Literal["keep", "rollback"]
Outcome = Literal["interrupted", "kept", "back", "same", "declined", "stranded"]

_SHOWN_RECORDS = 10


@dataclass
class UpgradeResult:
    """What an upgrade did and found.

    Attributes:
        pin: What was tried.
        before: The engine in stack.lock before.
        force: What was asked for whatever the comparison says.
        started_at: When it began.
        outcome: `kept`, `back`, `same` (there was nothing to try), `declined`, `stranded` (neither serves).
        against: What speaks against the new engine.
        old: What the old one measured.
        new: What the new one measured; None where it did not boot or answer.
        differences: In what they differ; None as above.
        announced_seconds: For how long the service was said to be away; None where that was not known.
        away_seconds: For how long it was away, until the engine that stays gave a token; None where neither did.
        warnings: What the user should know.
    """

    pin: PinResult
    before: LockedEngine | None
    force: Force | None
    started_at: datetime.datetime
    outcome: Outcome = "interrupted"
    against: list[str] = field(default_factory=list)
    old: Measured | None = None
    new: Measured | None = None
    differences: Differences | None = None
    announced_seconds: float | None = None
    away_seconds: float | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def has_failed(self) -> bool:
        """Tell whether the old engine is back because the new one was found wanting."""
        return self.outcome in ("back", "stranded") and self.force != "rollback"


class UpgradeStrandedError(StackError):
    """Neither the new engine nor the old one serves; the exit code is that of what stopped the old one."""

    def __init__(self, target: str, against: Sequence[str], err: StackError) -> None:
        self.exit_code = err.exit_code
        super().__init__(
            f"`stack upgrade {target}` failed ({'; '.join(against) or '`--rollback` was said'}), "
            f"and the old engine could not be brought back: {err.message}",
            hint=f"`stack up` tries the old one again: stack.lock was not changed\n{err.hint or ''}".rstrip(),
            detail=err.detail,
        )


def describe_outcome(result: UpgradeResult) -> str:
    """Say in one line how it ended."""
    target, against = result.pin.target.text, "; ".join(result.against)
    new, old = _name_engine(result.pin.engine), _name_engine(result.before)
    if result.outcome == "kept":
        despite = f", as `--keep` was said, though {against}" if against else ""
        return f"kept: {new} runs instead of {old}{despite}"
    if result.outcome == "same":
        return f"nothing to try: what `{target}` is runs already; stack.lock pins it"
    if result.outcome == "declined":
        return f"nothing changed: {old} runs on; the image of {new} is here"
    if result.force == "rollback":
        return f"tried, and {old} is back as `--rollback` was said: {against or f'nothing speaks against {new}'}"
    return f"the upgrade to {new} failed, and {old} is back: {against}"


def build_document(result: UpgradeResult) -> dict[str, Any]:
    """Give the result as a JSON document, without any text of a request or an answer."""
    different = result.differences
    return {
        "schema_version": 1,
        "target": result.pin.target.text,
        "outcome": result.outcome,
        "forced": result.force,
        "passed": not result.against,
        "against": list(result.against),
        "warnings": list(result.warnings),
        "started_at": result.started_at.isoformat(timespec="seconds"),
        "announced_seconds": result.announced_seconds,
        "away_seconds": _round(result.away_seconds),
        "old": {**_describe_engine(result.before), **_describe_measured(result.old)},
        "new": {**describe_entry(result.pin.engine, result.pin.entry), **_describe_measured(result.new)},
        "answers": _describe_answers(different.answers) if different and different.answers else None,
        "likelihoods": [asdict(item) for item in different.likelihoods] if different else None,
        "metrics": [asdict(item) for item in different.metrics] if different else None,
        "phases": [asdict(item) for item in different.phases] if different else None,
        "speed": asdict(different.speed) if different else None,
        "smoke": {"failed": different.failed, "failed_before": different.failed_before} if different else None,
    }


def build_rows(result: UpgradeResult) -> list[tuple[str, str, str, str]]:
    """Give the differences as rows: what, the old engine's, the new engine's, and what that means."""
    different, old, new = result.differences, result.old, result.new
    if different is None or old is None or new is None:
        return []
    smoke = f"fails: {join_few(different.failed)}" if different.failed else "as before"
    rows = [("smoke", _count_checks(old.smoke), _count_checks(new.smoke), smoke)]
    if different.answers is not None:
        rows.append(("answers", "", "", _count_answers(different.answers)))
        odd = [item for item in different.answers.comparisons if item.verdict != "equal"]
        rows += [(f"  {item.custom_id}", "", "", _describe_comparison(item)) for item in odd[:_SHOWN_RECORDS]]
        if len(odd) > _SHOWN_RECORDS:
            rows.append((f"  {len(odd) - _SHOWN_RECORDS} more", "", "", "`--json` has all of them"))
    for item in different.likelihoods:
        change = f"{item.new_nats - item.old_nats:+.3f}" + ("" if item.is_fine else ", more than is allowed")
        rows.append((f"nats a token, {item.text}", f"{item.old_nats:.3f}", f"{item.new_nats:.3f}", change))
    if new.metrics is not None:
        for change in different.metrics:
            verb = "asked for" if change.change == "appeared" else "needed"
            need = f"; {verb} by {join_few(change.users)}" if change.users else ""
            need = f", which came with vLLM {change.since}{need}" if change.since else need
            rows.append((f"metric {change.name}", "", "", f"{_say_change(change.change, change.said)}{need}"))
        if not different.metrics:
            rows.append(("metrics", str(len(old.metrics or ())), str(len(new.metrics)), "the same"))
    rows += [
        (f"phase {item.phase}", _say_seconds(item.previous_seconds), _say_seconds(item.seconds), "")
        for item in different.phases
    ]
    rows.append(("boot", _say_seconds(old.boot.total_seconds), _say_seconds(new.boot.total_seconds), _say_caches(new)))
    rows.append(("tokens a second", _say_speed(old), _say_speed(new), different.speed.said))
    rows.append(("service away", "", _say_seconds(result.away_seconds), _say_announced(result)))
    return rows


def _name_engine(engine: LockedEngine | None) -> str:
    if engine is None:
        return "the engine of before"
    commit = f"commit {engine.commit[:12]}" if engine.commit else "of an unknown commit"
    return f"vLLM {engine.version} ({commit})" if engine.version else f"the engine {commit}"


def _describe_engine(engine: LockedEngine | None) -> dict[str, Any]:
    return {"commit": engine.commit, "version": engine.version} if engine is not None else {}


def _describe_measured(measured: Measured | None) -> dict[str, Any]:
    if measured is None:
        return {"boot": None}
    boot = measured.boot
    return {
        "boot": boot.id,
        "boot_seconds": boot.total_seconds,
        "cache_state": boot.cache_state,
        "phases": dict(boot.phases),
        "tokens_per_second": [round(value, 1) for value in measured.speed.tokens_per_second],
    }


def _describe_answers(report: ComparisonReport) -> dict[str, Any]:
    return {
        "counts": report.counts,
        "records": [
            {
                "custom_id": item.custom_id,
                "verdict": item.verdict,
                "reasons": list(item.reasons),
                "token_index": item.token_index,
                "gap_nats": _round(item.gap_nats),
            }
            for item in report.comparisons
        ],
    }


def _describe_comparison(item: Comparison) -> str:
    return f"{item.verdict}: {'; '.join(item.reasons)}" if item.reasons else item.verdict


def _count_answers(report: ComparisonReport) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in report.counts.items() if count) or "none"


def _count_checks(report: Mapping[str, Any]) -> str:
    """Count what passed of what was run: a check that was skipped speaks for nothing."""
    ran = [item.get("status") for item in report.get("checks", []) if item.get("status") != "skip"]
    return f"{sum(status in ('pass', 'warn') for status in ran)} of {len(ran)}"


def _say_change(change: str, said: str) -> str:
    return f"{change} ({said})" if change in ("appeared", "gone") else f"other {change}: {said}"


def _say_caches(new: Measured) -> str:
    return f"with {new.boot.cache_state} compile caches" if new.boot.cache_state in ("warm", "cold") else ""


def _say_announced(result: UpgradeResult) -> str:
    told = result.announced_seconds
    return f"about {told:.0f} s a boot was said" if told is not None else "not known before"


def _say_seconds(seconds: float | None) -> str:
    return f"{seconds:.1f} s" if seconds is not None else "none"


def _say_speed(measured: Measured) -> str:
    return f"{measured.speed.median:.0f}" if measured.speed.median is not None else "none"


def _round(value: float | None) -> float | None:
    return round(value, 3) if value is not None else None
