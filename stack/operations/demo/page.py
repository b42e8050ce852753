"""What the page of a demo shows: its phases, and what should not have been. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stack.history.chart import Value, build_chart
from stack.history.page import Cell, Reason, Section, Table, Told, build_pairs
from stack.history.words import format_counts, format_number, format_pair
from stack.operations.demo.report import render_lines


def tell_demo(report: Mapping[str, Any]) -> Told:
    """Give what came of it, why it failed, its phases and its pace."""
    ended, *_, verdict = render_lines(report)
    return Told(
        summary=f"{ended}; {verdict}",
        reasons=list(_list_reasons(report)),
        sections=[
            _build_phases(report),
            _build_load(report),
            build_pairs("In all", list(_list_all(report))),
            build_pairs("What the phases do", [(phase["name"], phase["does"]) for phase in report["phases"]]),
        ],
    )


def _list_reasons(report: Mapping[str, Any]) -> Iterator[Reason]:
    for one in report["problems"]:
        said = one["said"] or one["error"]
        yield Reason(f"{one['request']}: failed with status {one['status']}" + (f", {said}" if said else ""))
    if report["gave_up"]:
        yield Reason("the engine stopped answering; the rest was not sent", "`stack logs engine`")
    if report["is_interrupted"]:
        yield Reason("interrupted: this is what had come until then")


def _build_phases(report: Mapping[str, Any]) -> Table:
    statuses = {check["check"]: check["status"] for check in report.get("checks") or []}
    rows = []
    for phase in report["phases"]:
        status, most = statuses.get(phase["name"], "skip"), phase["most"]
        rows.append(
            (
                Cell(phase["name"], "name"),
                Cell(status, f"status {status}"),
                Cell(f"{phase['to_seconds'] - phase['from_seconds']:.0f}", "number"),
                Cell(str(phase["requests"]), "number"),
                Cell(format_counts(phase["outcomes"])),
                *(Cell(format_pair(phase[f"{key}_seconds"], "p95"), "number") for key in ("ttft", "itl", "e2e")),
                Cell(f"{most['kv_cache_usage_ratio']:.0%}", "number"),
            )
        )
    header = (
        "Phase",
        "Status",
        "Seconds",
        "Requests",
        "Ended by",
        "TTFT p50 / p95",
        "ITL p50 / p95",
        "E2E p50 / p95",
        "KV cache",
    )
    return Table("Phases", header, rows, "KV cache: the most of it that was in use")


def _build_load(report: Mapping[str, Any]) -> Section:
    groups = [
        (
            phase["name"],
            [Value("now", phase["most"]["running"], "running"), Value("before", phase["most"]["waiting"], "waiting")],
        )
        for phase in report["phases"]
    ]
    text = "filled: the most requests that ran at a time; outlined: the most that waited"
    return build_chart("Load of the engine, phase by phase", groups, text=text, say=lambda value: f"{value:.0f}")


def _list_all(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    now, pace = report["now"], report["pace"]
    yield "requests", f"{now['requests']} ({format_counts(now['outcomes'])})"
    yield "tokens", f"{now['prompt_tokens']:,} read, {now['completion_tokens']:,} generated"
    for key in ("ttft", "itl", "e2e"):
        yield f"{key.upper()} p50 / p95", format_pair(now[f"{key}_seconds"], "p95")
    yield "pace that was found", f"{format_number(pace['tokens_per_second'])} tokens a second"
    yield "seed", str(report["seed"])
