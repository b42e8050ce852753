"""What `stack dashboards check` found, as lines, as JSON and as findings for JUnit."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

from stack.checks.finding import Finding, Report, Status
from stack.operations.dashboards.check import Checked
from stack.telemetry.contract.check import Answer
from stack.telemetry.contract.query import Fault, Place

SCHEMA_VERSION = 1
_NAME = re.compile(r"`([^`]+)`")
_LISTED = 5
_STATUSES: dict[str, Status] = {"error": "fail", "warning": "warn", "note": "pass"}


def build_report(checked: Checked) -> Report:
    """Give a finding a query, for JUnit: what is wrong with it, and what became of it when it was run."""
    by_place: dict[Place, list[Fault]] = {}
    for fault in checked.faults:
        by_place.setdefault(fault.place, []).append(fault)
    answers = {answer.query.place: answer for answer in checked.answers}
    places = dict.fromkeys((*by_place, *(query.place for query in checked.queries)))
    bad = checked.failing_outcomes
    return Report([_find(str(place), by_place.get(place, []), answers.get(place), bad) for place in places])


def build_document(checked: Checked) -> dict[str, Any]:
    """Give the result as JSON says it."""
    return {
        "schema_version": SCHEMA_VERSION,
        "passed": checked.is_passed,
        "strict": checked.is_strict,
        "against": checked.source,
        "files": [{"path": file.path, "queries": len(file.queries)} for file in checked.files],
        "faults": [_describe_fault(fault) for fault in checked.faults],
        "answers": [
            {
                **_describe_place(answer.query.place),
                "outcome": answer.outcome,
                "reason": answer.reason,
                "series": answer.series_count,
                "seconds": round(answer.seconds, 4),
            }
            for answer in checked.answers
        ],
    }


def render_lines(checked: Checked) -> list[str]:
    """Give the result as lines: faults with their hints, dead and empty queries, and a verdict."""
    lines: list[str] = []
    for fault in checked.faults:
        if fault.severity != "note":
            lines.append(f"{fault.severity:7}  {fault}")
            lines += [f"{'':9}hint: {fault.hint}"] if fault.hint else []
    for answer in checked.answers:
        if answer.outcome not in ("ok", "conditional"):
            lines.append(f"{answer.outcome:11}  {answer.query.place}: {answer.reason}")
    lines += _render_conditional(checked.answers)
    lines += _render_unchecked(checked.faults)
    return [*lines, "", _render_verdict(checked)] if lines else [_render_verdict(checked)]


def _render_conditional(answers: Sequence[Answer]) -> list[str]:
    """Give a line a reason: many queries wait for the same thing, such as a GPU."""
    by_reason: dict[str, list[Answer]] = {}
    for answer in answers:
        if answer.outcome == "conditional":
            by_reason.setdefault(answer.reason or "", []).append(answer)
    lines = []
    for reason, alike in by_reason.items():
        more = f" and {len(alike) - 1} more" if len(alike) > 1 else ""
        lines.append(f"{'conditional':11}  {alike[0].query.place}{more}: {reason}")
    return lines


def _render_unchecked(faults: Sequence[Fault]) -> list[str]:
    """Give one line for all names and labels that nobody was asked for, where somebody can be."""
    said = (fault.message for fault in faults if fault.rule == "not-checked" and fault.hint)
    names = list(dict.fromkeys(match[1] for message in said if (match := _NAME.search(message))))
    if not names:
        return []
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return [f"not checked  {', '.join(names[:_LISTED])}{more}: not the engine's; --prometheus URL asks for them"]


def _render_verdict(checked: Checked) -> str:
    counts = {
        severity: sum(fault.severity == severity for fault in checked.faults)
        for severity in ("error", "warning", "note")
    }
    verdict = "passed" if checked.is_passed else "failed"
    text = (
        f"{verdict}: {len(checked.queries)} queries of {len(checked.files)} files against {checked.source}: "
        f"{counts['error']} errors, {counts['warning']} warnings, {counts['note']} notes"
    )
    if checked.answers:
        outcomes = [answer.outcome for answer in checked.answers]
        text += "; run: " + ", ".join(f"{outcomes.count(name)} {name}" for name in dict.fromkeys(outcomes))
    return text


def _find(name: str, faults: Sequence[Fault], answer: Answer | None, failing: Collection[str]) -> Finding:
    worst = min((_STATUSES[fault.severity] for fault in faults), key=("fail", "warn", "pass").index, default="pass")
    said = [fault.message for fault in faults]
    if answer is not None and answer.outcome in failing:
        worst = "fail"
    if answer is not None and answer.outcome != "ok":
        said.append(f"{answer.outcome}: {answer.reason}")
    hints = [fault.hint for fault in faults if fault.hint]
    seconds = answer.seconds if answer else 0.0
    return Finding(name, worst, "; ".join(said) or "ok", seconds, hint="; ".join(hints) or None)


def _describe_fault(fault: Fault) -> dict[str, Any]:
    return {
        "rule": fault.rule,
        "severity": fault.severity,
        **_describe_place(fault.place),
        "line": fault.line,
        "column": fault.column,
        "message": fault.message,
        "hint": fault.hint,
    }


def _describe_place(place: Place) -> dict[str, Any]:
    return {"file": place.file, "kind": place.kind, "name": place.name, "row": place.row, "ref": place.ref}
