"""What the pages of an upgrade and of a rollback show: old beside new, and what speaks against the new. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stack.history.chart import Chart, Value, build_chart, format_seconds
from stack.history.page import Cell, Reason, Table, Told
from stack.history.words import format_counts
from stack.operations.replay.page import ROLES

_OUTCOMES = {
    "kept": "kept: {new} runs instead of {old}",
    "back": "{new} was tried, and {old} is back",
    "same": "nothing to try: {new} runs already",
    "declined": "nothing changed: {old} runs on",
    "stranded": "neither serves: {new} failed, and {old} could not be brought back",
}


def tell_upgrade(report: Mapping[str, Any]) -> Told:
    """Give which engine runs, why, and what was compared."""
    old, new = report["old"], report["new"]
    said = _OUTCOMES.get(report["outcome"], report["outcome"]).format(old=_name(old), new=_name(new))
    forced = f", as `--{report['forced']}` was said" if report["forced"] else ""
    facts = [
        ("target", report["target"]),
        ("old commit", old.get("commit") or "unknown"),
        ("new commit", new.get("commit") or "unknown"),
    ]
    return Told(
        summary=said + forced,
        reasons=[Reason(text) for text in report["against"]],
        facts=facts,
        notes=report["warnings"],
        sections=[*_build_compared(report), *_build_answers(report), *_build_metrics(report), *_build_phases(report)],
    )


def tell_rollback(report: Mapping[str, Any]) -> Told:
    """Give where it went, what changed, and which checks fail there."""
    engine = f"vLLM {report['version'] or 'of unknown version'} (commit {(report['commit'] or 'unknown')[:12]})"
    rows = [
        (Cell(one["what"], "name"), Cell(one["before"] or "-", "hash"), Cell(one["after"] or "-", "hash"))
        for one in report["changes"]
    ]
    seconds = report["boot_seconds"]
    took = f", first token after {format_seconds(seconds)}" if seconds is not None else ""
    return Told(
        summary=f"back to {engine}, which passed smoke on {report['passed_at'][:16].replace('T', ' ')} UTC{took}",
        reasons=[Reason(f"smoke fails: {name}", "`stack report` of that smoke") for name in report["failed"]],
        notes=report["warnings"],
        sections=[Table("What changed", ("What", "Before", "After"), rows)] if rows else [],
    )


def _build_compared(report: Mapping[str, Any]) -> Iterator[Table]:
    rows = [row for row in _list_compared(report) if row is not None]
    if rows:
        yield Table(
            "Compared",
            ("What", "Old", "New", "What that means"),
            [(Cell(what, "name"), Cell(then), Cell(now), Cell(said)) for what, then, now, said in rows],
        )


def _list_compared(report: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    old, new, smoke = report["old"], report["new"], report["smoke"]
    if smoke is not None:
        failed = (", ".join(smoke[name]) for name in ("failed_before", "failed"))
        then, now = (f"fails: {names}" if names else "passes" for names in failed)
        yield "smoke", then, now, ""
    if report["answers"] is not None:
        yield "answers", "", "", format_counts(report["answers"]["counts"])
    for item in report["likelihoods"] or []:
        change = f"{item['new_nats'] - item['old_nats']:+.3f}" + ("" if item["is_fine"] else ", more than is allowed")
        yield f"nats a token, {item['text']}", f"{item['old_nats']:.3f}", f"{item['new_nats']:.3f}", change
    if report["speed"] is not None:
        yield "output tokens a second", _say_speed(old), _say_speed(new), report["speed"]["said"]
    if old.get("boot_seconds") is not None or new.get("boot_seconds") is not None:
        yield "boot, to the first token", _say(old.get("boot_seconds")), _say(new.get("boot_seconds")), ""
    told = report["announced_seconds"]
    announced = f"about {told:.0f} s a boot was said" if told is not None else "not known before"
    yield "service away", "", _say(report["away_seconds"]), announced


def _build_answers(report: Mapping[str, Any]) -> Iterator[Table]:
    odd = [item for item in (report["answers"] or {}).get("records", []) if item["verdict"] != "equal"]
    rows = [
        (
            Cell(item["verdict"], f"status {ROLES.get(item['verdict'], 'skip')}"),
            Cell(item["custom_id"], "name"),
            Cell("; ".join(item["reasons"]) or "-"),
        )
        for item in odd
    ]
    if rows:
        yield Table("Answers that are not equal", ("Verdict", "Record", "Why"), rows)


def _build_metrics(report: Mapping[str, Any]) -> Iterator[Table]:
    rows = [
        (
            Cell(item["name"], "name"),
            Cell(item["change"]),
            Cell(item["said"]),
            Cell(", ".join(item["users"]) or "nothing here"),
        )
        for item in report["metrics"] or []
    ]
    if rows:
        yield Table("Metrics that changed", ("Metric", "Change", "What", "Needed by"), rows)


def _build_phases(report: Mapping[str, Any]) -> Iterator[Chart]:
    groups = []
    for item in report["phases"] or []:
        sides = (("now", item["seconds"], "new"), ("before", item["previous_seconds"], "old"))
        groups.append(
            (item["phase"], [Value(role, seconds, note) for role, seconds, note in sides if seconds is not None])
        )
    if groups:
        yield build_chart("Phases of the boot", groups, text="filled: the new engine; outlined: the old one")


def _name(engine: Mapping[str, Any]) -> str:
    commit = engine.get("commit")
    return f"vLLM {engine.get('version') or ''} ({commit[:12] if commit else 'unknown commit'})".replace("  ", " ")


def _say(seconds: float | None) -> str:
    return format_seconds(seconds) if seconds is not None else "-"


def _say_speed(engine: Mapping[str, Any]) -> str:
    values = sorted(engine.get("tokens_per_second") or [])
    return f"{values[len(values) // 2]:.0f}" if values else "-"
