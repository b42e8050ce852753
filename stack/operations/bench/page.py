"""What the page of a bench shows: its sweep, how it compares, its speed and latencies with their scatter. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stack.history.chart import Value, build_chart
from stack.history.page import Cell, Reason, Section, Table, Told, build_pairs
from stack.history.plot import Plots, build_plot
from stack.history.words import format_latency, format_number
from stack.operations.bench.history import THROUGHPUT, list_doubts
from stack.traffic.bench_load import describe_load, parse_load

_LATENCIES = {"ttft": "TTFT", "tpot": "TPOT", "itl": "ITL", "e2e": "E2E"}
_STATISTICS = ("mean", "p50", "p95", "p99")
_RATES = {
    THROUGHPUT: "output tokens",
    "total_tokens_per_second": "all tokens",
    "requests_per_second": "requests",
    "good_requests_per_second": "requests within the objectives",
}
_RATE_AXIS = "requests a second that arrived"


def tell_bench(report: Mapping[str, Any]) -> Told:
    """Give what it came to, then the evidence: the sweep, the comparison, each repeat, the load."""
    doubts = list(list_doubts(report))
    failed = doubts[:1] if report.get("failed") else []
    return Told(
        summary=str(report.get("said") or ""),
        reasons=[Reason(text) for text in failed],
        notes=doubts[len(failed) :],
        sections=[
            *_build_compared(report),
            *_build_sweep(report.get("sweep") or {}),
            *_build_speed(report),
            *_build_latencies(report.get("figures") or {}),
            build_pairs("Load", list(_list_load(report))),
        ],
    )


def _build_compared(report: Mapping[str, Any]) -> Iterator[Section]:
    compared = report.get("compared")
    if not compared:
        return
    rows = []
    for name, found in compared["figures"].items():
        if found is None or name not in report["figures"]:
            continue
        say = format_latency if "_seconds." in name else format_number
        median = report["figures"][name]["median"]
        rows.append(
            (
                Cell(_name(name), "name"),
                Cell(say(found["before"]) if "before" in found else "-", "number"),
                Cell(say(median), "number"),
                Cell(_say_change(found)),
            )
        )
    text = f"{_name(compared['figure'])} decides: {compared['said']}; a change is over all pairs of repeats, 90 % sure"
    header = ("Figure", compared["with"], "This run", "Change")
    yield Table(f"Against {compared['with']} (commit {(compared['commit'] or 'unknown')[:12]})", header, rows, text)


def _build_sweep(sweep: Mapping[str, Any]) -> Iterator[Section]:
    steps = sweep.get("steps") or []
    if not steps:
        return
    rate = sweep["knee"]["rate"]
    mark = (rate, "knee") if rate is not None else None
    said = f"knee at {rate:g} requests a second" if rate is not None else "no knee"
    plots = [
        build_plot(_RATE_AXIS, name, [(step["rate"], step[key]) for step in steps], mark)
        for key, name in (
            ("output_tokens_per_second", "Output tokens a second"),
            ("ttft_p95_seconds", "TTFT p95, seconds"),
        )
    ]
    yield Plots("Sweep", tuple(plots), f"{said}: {sweep['knee']['why']}")
    header = ("Requests a second", "Answered in time", "Output tokens a second", "TTFT p95", "Failed", "")
    rows = [
        (
            Cell(f"{step['rate']:g}", "name"),
            Cell(format_number(step["good_per_second"]), "number"),
            Cell(format_number(step["output_tokens_per_second"]), "number"),
            Cell(format_latency(step["ttft_p95_seconds"]), "number"),
            Cell(str(step["failed"]), "number"),
            Cell("the knee" if step["rate"] == rate else ""),
        )
        for step in steps
    ]
    yield Table("Rates of the sweep", header, rows)


def _build_speed(report: Mapping[str, Any]) -> Iterator[Section]:
    figures, repeats = report.get("figures") or {}, report.get("repeats") or []
    rows = [
        (Cell(said, "name"), Cell(format_number(found["median"]), "number"), Cell(_say_range(found, format_number)))
        for name, said in _RATES.items()
        if (found := figures.get(name)) is not None
    ]
    if rows:
        yield Table("Speed", ("A second", "Median", "Least to most of the repeats"), rows)
    if len(repeats) > 1:
        speeds = [
            (f"repeat {number}", [Value("now", float(one["figures"][THROUGHPUT]))])
            for number, one in enumerate(repeats, 1)
        ]
        yield build_chart("Output tokens a second, repeat by repeat", speeds, say=lambda value: f"{value:.4g} tok/s")


def _build_latencies(figures: Mapping[str, Any]) -> Iterator[Section]:
    rows = []
    for key, said in _LATENCIES.items():
        found = [figures.get(f"{key}_seconds.{which}") for which in _STATISTICS]
        if any(found):
            cells = [Cell(format_latency(one["median"]) if one else "-", "number") for one in found]
            middle = figures.get(f"{key}_seconds.p50")
            scatter = _say_range(middle, format_latency) if middle else "-"
            rows.append((Cell(said, "name"), *cells, Cell(scatter, "number")))
    if rows:
        header = ("Latency", "Mean", *_STATISTICS[1:], "p50, least to most")
        yield Table("Latencies", header, rows, "medians over the repeats")


def _list_load(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    load = parse_load(report.get("load") or {})
    yield "load", f"{report.get('preset')}: {describe_load(load)}" if load else str(report.get("preset"))
    yield "repeats", str(len(report.get("repeats") or []))
    for key, name in _COUNTS.items():
        if report.get(key) is not None:
            value = report[key]
            yield name, f"{value:.4g}" if isinstance(value, float) else str(value)


_COUNTS = {
    "completed": "requests answered",
    "failed": "requests failed",
    "foreign_requests": "requests of others meanwhile",
    "probe_requests_per_second": "requests a second of the probe",
    "seed": "seed of the prompts",
    "duration_seconds": "seconds in all",
}


def _name(figure: str) -> str:
    if figure in _RATES:
        return f"{_RATES[figure]} a second"
    key, _, which = figure.partition("_seconds.")
    return f"{_LATENCIES.get(key, key)} {which}"


def _say_change(found: Mapping[str, float]) -> str:
    return f"{found['ratio'] - 1:+.1%} ({found['low'] - 1:+.1%} to {found['high'] - 1:+.1%})"


def _say_range(figure: Mapping[str, Any], say: Any) -> str:
    return f"{say(figure['least'])} to {say(figure['most'])}"
