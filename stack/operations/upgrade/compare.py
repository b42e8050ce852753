"""What two engines measured, in what they differ, and whether the new one may stay. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stack.checks.near_tie import compare_greedy
from stack.checks.smoke.baseline import LEAST_TOLERANCE_NATS
from stack.history.records import BootRecord, PhaseDelta, compare_phases
from stack.operations.upgrade.metrics import Metric, MetricChange, Query, compare_inventories
from stack.operations.upgrade.speed import Speed, SpeedVerdict, compare_speeds
from stack.traffic.comparison import ComparisonReport, compare
from stack.traffic.record import Record, RecordedResponse

_LIKELIHOOD = "likelihood"
_SHOWN = 3


@dataclass(frozen=True)
class Measured:
    """What was measured on one engine.

    Attributes:
        boot: Its boot.
        smoke: The report of its smoke test, as JSON.
        answers: What it answered to each record; None where a record was not sent.
        metrics: What it exports; None where nothing but smoke was run.
        speed: Its load run.
    """

    boot: BootRecord
    smoke: Mapping[str, Any]
    answers: tuple[RecordedResponse | None, ...] = ()
    metrics: Mapping[str, Metric] | None = None
    speed: Speed = Speed(())


@dataclass(frozen=True)
class LikelihoodChange:
    """The mean negative log-likelihood of one fixed text on two engines, in nats a token."""

    text: str
    old_nats: float
    new_nats: float
    is_fine: bool


@dataclass(frozen=True)
class Differences:
    """In what two engines differ.

    Attributes:
        answers: The replayed records; None where they were not sent to both.
        likelihoods: Of each text that both measured.
        metrics: What appeared, went or changed.
        phases: The boots, phase by phase.
        speed: The load runs.
        failed: Smoke checks that fail on the new engine and did not on the old one.
        failed_before: Smoke checks that fail on both.
    """

    answers: ComparisonReport | None
    likelihoods: tuple[LikelihoodChange, ...]
    metrics: tuple[MetricChange, ...]
    phases: tuple[PhaseDelta, ...]
    speed: SpeedVerdict
    failed: tuple[str, ...] = ()
    failed_before: tuple[str, ...] = ()


def compare_engines(
    old: Measured,
    new: Measured,
    records: Sequence[Record],
    queries: Sequence[Query],
    later: Mapping[str, str] | None = None,
) -> Differences:
    """Compare what was measured on two engines.

    Args:
        old: The engine that is measured against.
        new: The engine that is tried.
        records: What was sent to both.
        queries: Every query of this stack's dashboards and rules.
        later: Series that came with a later release than the new engine's, and that release.
    """
    broken, broken_before = find_failed(new.smoke), find_failed(old.smoke)
    is_whole = old.metrics is not None and new.metrics is not None
    return Differences(
        answers=compare(records, old.answers, new.answers, compare_greedy) if records and is_whole else None,
        likelihoods=tuple(compare_likelihoods(read_likelihoods(old.smoke), read_likelihoods(new.smoke))),
        metrics=tuple(compare_inventories(old.metrics or {}, new.metrics or {}, queries, later)) if is_whole else (),
        phases=tuple(compare_phases(new.boot.phases, old.boot.phases)),
        speed=compare_speeds(old.speed, new.speed),
        failed=tuple(check for check in broken if check not in broken_before),
        failed_before=tuple(check for check in broken if check in broken_before),
    )


def judge(differences: Differences) -> list[str]:
    """Give what speaks against the new engine; nothing means that it may stay.

    A text that parts at a near tie, a metric that came, one that is known to have come after it, and a speed speak
    against nothing.
    """
    against = []
    if differences.failed:
        against.append(f"smoke fails on it ({', '.join(differences.failed)})")
    counts = differences.answers.counts if differences.answers is not None else {}
    for verdict, said in (("differs", "answered otherwise"), ("failed", "not answered")):
        if counts.get(verdict):
            against.append(f"{counts[verdict]} of {sum(counts.values())} records are {said}")
    apart = [item for item in differences.likelihoods if not item.is_fine]
    if apart:
        worst = max(apart, key=lambda item: abs(item.new_nats - item.old_nats))
        against.append(
            f"{len(apart)} of {len(differences.likelihoods)} texts score otherwise "
            f"({worst.text} {worst.new_nats - worst.old_nats:+.3f} nats a token, {LEAST_TOLERANCE_NATS} are allowed)"
        )
    for change in differences.metrics:
        if change.users and change.change != "appeared" and change.since is None:
            what = "is gone" if change.change == "gone" else f"changed ({change.said})"
            verb = "needs" if len(change.users) == 1 else "need"
            against.append(f"`{change.name}` {what}, and {join_few(change.users)} {verb} it")
    return against


def find_failed(report: Mapping[str, Any]) -> list[str]:
    """Give the names of the checks that failed in a smoke report."""
    return [str(item.get("check")) for item in report.get("checks", []) if item.get("status") == "fail"]


def read_likelihoods(report: Mapping[str, Any]) -> dict[str, float]:
    """Give the likelihoods that a smoke report holds, by text; none where that check measured nothing."""
    data = next((item.get("data") or {} for item in report.get("checks", []) if item.get("check") == _LIKELIHOOD), {})
    return {name.removeprefix("nll_"): float(value) for name, value in data.items() if name.startswith("nll_")}


def compare_likelihoods(old: Mapping[str, float], new: Mapping[str, float]) -> list[LikelihoodChange]:
    """Compare the likelihoods of the texts that both measured, within smoke's own tolerance for another kernel."""
    return [
        LikelihoodChange(text, old[text], new[text], abs(new[text] - old[text]) <= LEAST_TOLERANCE_NATS)
        for text in old
        if text in new
    ]


def join_few(names: Sequence[str]) -> str:
    """Give names in one sentence: the first few, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def describe_pace(boots: Sequence[BootRecord], present: BootRecord) -> tuple[float | None, str]:
    """Say for how long a boot takes the service away, by earlier ones of the same model and arguments.

    Args:
        boots: The newest boots, the newest first.
        present: The engine's boot now.

    Returns:
        The longest of them in seconds, None where none is known; and a sentence.
    """
    start = present.start
    alike = [
        boot.total_seconds
        for boot in [present, *(boot for boot in boots if boot.id != present.id)]
        if boot.outcome == "ready" and boot.total_seconds is not None
        and (boot.start.model, boot.start.revision, boot.start.device) == (start.model, start.revision, start.device)
    ][:5]  # fmt: skip
    if not alike:
        return None, "for how long is not known: no boot of this model is in the history"
    least, most = min(alike), max(alike)
    times = f"{most:.0f} s" if round(least) == round(most) else f"{least:.0f} to {most:.0f} s"
    count = "its last boot" if len(alike) == 1 else f"the last {len(alike)} boots of this model"
    return most, f"for about {times}, as long as {count} took; longer where the new engine has to compile anew"
