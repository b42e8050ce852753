"""What the page of a replay shows: which answers differ and why, and latencies beside the recorded ones. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stack.history.page import Cell, Reason, Role, Table, Told, build_pairs
from stack.history.words import format_counts, format_latency
from stack.operations.replay.report import render_lines

_SHOWN_ROWS = 50
ROLES: dict[str, Role] = {"differs": "fail", "failed": "fail", "near tie": "warn", "equal": "pass"}
_LATENCIES = {"e2e_seconds": "E2E", "ttft_seconds": "TTFT", "itl_seconds": "ITL", "mean_itl_seconds": "mean ITL"}


def tell_replay(report: Mapping[str, Any]) -> Told:
    """Give the counts, why it failed, latencies, the records that are not equal, and how it was sent."""
    return Told(
        summary=render_lines(report)[0],
        reasons=list(_list_reasons(report)),
        facts=[("file", report["file"])],
        sections=[
            *_build_rows(report),
            *_build_latencies(report),
            build_pairs("How it was sent", list(_list_sent(report))),
        ],
    )


def _list_reasons(report: Mapping[str, Any]) -> Iterator[Reason]:
    counts, ratio, largest = report["counts"], report["latency_ratio"], report["max_latency_ratio"]
    if counts["differs"]:
        yield Reason(f"{counts['differs']} answered otherwise than recorded")
    if counts["failed"]:
        yield Reason(f"{counts['failed']} not answered", None if report["gave_up"] else "`stack logs engine`")
    if report["gave_up"]:
        yield Reason("the engine stopped answering; the rest was not sent", "`stack logs engine`")
    if report["is_interrupted"]:
        yield Reason("interrupted: this is what had come until then")
    if largest is not None and ratio is not None and ratio > largest:
        yield Reason(f"slower: the median answer takes {ratio:.2f} times as long, {largest:g} allowed")


def _build_latencies(report: Mapping[str, Any]) -> Iterator[Table]:
    rows = []
    recorded = report["recorded"] or {}
    for key, name in _LATENCIES.items():
        for which in ("p50", "p99"):
            now, then = (side.get(key, {}) or {} for side in (report["now"], recorded))
            if which in now:
                ratio = f"{now[which] / then[which]:.2f}" if then.get(which) else "-"
                values = [Cell(format_latency(side.get(which)), "number") for side in (now, then)]
                rows.append((Cell(f"{name} {which}", "name"), *values, Cell(ratio, "number")))
    if rows:
        yield Table("Latencies", ("Latency", "Now", "Recorded", "Times as long"), rows)


def _build_rows(report: Mapping[str, Any]) -> Iterator[Table]:
    odd = [row for row in report["rows"] if row["verdict"] not in ("equal", "not compared")]
    if not odd:
        return
    rows = [
        (
            Cell(row["verdict"], f"status {ROLES.get(row['verdict'], 'skip')}"),
            Cell(row["custom_id"], "name"),
            Cell(format_latency(row["now"]["e2e_seconds"]), "number"),
            Cell("; ".join(row["reasons"]) or "-"),
        )
        for row in odd[:_SHOWN_ROWS]
    ]
    more = f"the first {_SHOWN_ROWS} of {len(odd)}; the rest are in the details" if len(odd) > _SHOWN_ROWS else ""
    yield Table("Records that are not equal", ("Verdict", "Record", "E2E", "Why"), rows, more)


def _list_sent(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    records, lag = report["records"], report["send_lag_seconds"]
    yield "records", f"{records['total']} in the file, {records['sent']} sent, {records['ended']} ended"
    yield "schedule", report["schedule"]["said"]
    yield "answers by status", format_counts({f"with {name}": count for name, count in report["statuses"].items()})
    for name, side in (("now", report["now"]), ("recorded", report["recorded"])):
        if side is not None:
            yield f"tokens, {name}", f"{side['prompt_tokens']:,} read, {side['completion_tokens']:,} generated"
    for name, count in report["renamed"].items():
        yield "model", f"`{name}` sent as `{report['served_model']}` ({count})"
    if lag is not None:
        late = "; degraded: records were sent late" if report["is_degraded"] else ""
        yield "send lag", f"p50 {format_latency(lag['p50'])}, p99 {format_latency(lag['p99'])}{late}"
