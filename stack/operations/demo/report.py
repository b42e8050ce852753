"""A demo's document as a table and as lines. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_HEADER = [
    "PHASE", "SENT", "STOP", "LENGTH", "HUNG UP", "REFUSED", "FAILED", "TOKENS IN", "OUT",
    "TTFT p50/p95", "ITL p50/p95", "E2E p50/p95", "RAN", "WAITED",
]  # fmt: skip


def render_rows(document: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Give the header and a row for each phase, then one for all."""
    rows = [_render_row(phase["name"], phase) for phase in document["phases"]]
    return _HEADER, [*rows, _render_row("all", document["now"])]


def render_lines(document: Mapping[str, Any]) -> list[str]:
    """Give what the table does not tell, the verdict last."""
    records, pace = document["records"], document["pace"]
    lines = [
        f"{records['ended']} of {records['total']} requests ended in {document['duration_seconds']:.0f} s, chosen for "
        f"{pace['tokens_per_second']:.0f} tokens/s (seed {document['seed']})"
    ]
    lines += [
        f"{one['request']}: failed with status {one['status']}" + (f", {one['said']}" if one["said"] else "")
        for one in document["problems"]
    ]
    if document["gave_up"]:
        lines.append("the engine stopped answering; the rest was not sent (`stack logs engine`)")
    if document["left_running"]:
        lines.append(f"{document['left_running']} requests still run on the engine: not of this demo, or not let go")
    if document["is_interrupted"]:
        lines.append("interrupted: this is what had come until then")
    failed = document["now"]["outcomes"]["failed"]
    lines.append(f"failed: {failed} requests ended as they should not" if failed else "nothing ended as it should not")
    return lines


def build_checks(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give the phases as a report's checks, which is what the run's page and JUnit show."""
    return [
        {
            "check": phase["name"],
            "status": _judge(phase, is_whole=not document["is_interrupted"] and not document["gave_up"]),
            "message": _describe(phase),
            "seconds": round(phase["to_seconds"] - phase["from_seconds"], 3),
        }
        for phase in document["phases"]
    ]


def _judge(phase: Mapping[str, Any], *, is_whole: bool) -> str:
    if phase["outcomes"]["failed"]:
        return "fail"
    return "pass" if is_whole or phase["requests"] else "skip"


def _describe(phase: Mapping[str, Any]) -> str:
    ends = ", ".join(f"{count} {name}" for name, count in phase["outcomes"].items() if count)
    said = [f"{phase['does']}: {phase['requests']} requests" + (f", {ends}" if ends else "")]
    for key in ("ttft", "itl", "e2e"):
        found = phase[f"{key}_seconds"]
        if found is not None:
            said.append(f"{key.upper()} p50 {found['p50']:.3f} s, p95 {found['p95']:.3f} s")
    most = phase["most"]
    said.append(f"at most {most['running']} running and {most['waiting']} waiting")
    return "; ".join(said)


def _render_row(name: str, figures: Mapping[str, Any]) -> list[str]:
    outcomes, most = figures["outcomes"], figures.get("most") or {}
    return [
        name,
        str(figures["requests"]),
        *(str(outcomes[key]) for key in ("stop", "length", "hung up", "refused", "failed")),
        str(figures["prompt_tokens"]),
        str(figures["completion_tokens"]),
        *(_render_pair(figures[f"{key}_seconds"]) for key in ("ttft", "itl", "e2e")),
        str(most.get("running", "")),
        str(most.get("waiting", "")),
    ]


def _render_pair(percentiles: Mapping[str, float] | None) -> str:
    return "-" if percentiles is None else f"{percentiles['p50']:.3f}/{percentiles['p95']:.3f} s"
