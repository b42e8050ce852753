"""What the page of a bench shows: its figures, and charts of its repeats and rates. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stack.history.chart import Chart, Value, build_chart
from stack.operations.bench.history import THROUGHPUT
from stack.traffic.bench_load import describe_load, parse_load

_LATENCIES = {"ttft": "TTFT", "tpot": "TPOT", "itl": "ITL", "e2e": "E2E"}
_FIGURES = {
    THROUGHPUT: "output tokens a second",
    "total_tokens_per_second": "all tokens a second",
    "requests_per_second": "requests a second",
    "good_requests_per_second": "requests a second within the objectives",
} | {f"{key}_seconds.{which}": f"{name} {which}" for key, name in _LATENCIES.items() for which in ("p50", "p95", "p99")}
_CHARTED = ("p50", "p95")


def build_bench_figures(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Give names and values: the load, medians over the repeats with their range, the knee, the comparison."""
    load = parse_load(report.get("load") or {})
    rows = [("load", f"{report.get('preset')}: {describe_load(load)}" if load else str(report.get("preset")))]
    figures = report.get("figures") or {}
    rows += [(said, _say_range(figures[name], name)) for name, said in _FIGURES.items() if name in figures]
    rows += [(name, str(report[key])) for key, name in _COUNTS.items() if report.get(key) is not None]
    sweep, compared = report.get("sweep"), report.get("compared")
    if sweep:
        knee = sweep["knee"]
        rate = f"{knee['rate']:g} requests a second" if knee["rate"] is not None else "none"
        rows.append(("knee", f"{rate}: {knee['why']}"))
    if compared:
        rows.append((f"against {compared['with']}", f"{compared['figure'].replace('_', ' ')}: {compared['said']}"))
    return rows


_COUNTS = {
    "completed": "requests answered",
    "failed": "requests failed",
    "foreign_requests": "requests of others meanwhile",
    "probe_requests_per_second": "requests a second of the probe",
    "seed": "seed of the prompts",
}


def build_bench_charts(report: Mapping[str, Any]) -> list[tuple[str, Chart]]:
    """Give a chart of the speed of each repeat, of their latencies, and of the rates of a sweep."""
    repeats = report.get("repeats") or []
    charts = []
    if repeats:
        speeds = [
            (f"repeat {number}", [Value("now", float(one["figures"][THROUGHPUT]))])
            for number, one in enumerate(repeats, 1)
        ]
        charts.append(("Output tokens a second", build_chart("tokens a second of each repeat", speeds, say=_say_speed)))
    figures = report.get("figures") or {}
    latencies = [
        (f"{said} {which}", [Value("now", float(figures[name]["median"]))])
        for key, said in _LATENCIES.items()
        for which in _CHARTED
        if (name := f"{key}_seconds.{which}") in figures
    ]
    if latencies:
        charts.append(("Latencies", build_chart("seconds, medians over the repeats", latencies, say=_say_seconds)))
    return charts + _build_sweep_charts(report.get("sweep") or {})


def _build_sweep_charts(sweep: Mapping[str, Any]) -> list[tuple[str, Chart]]:
    steps = sweep.get("steps") or []
    if not steps:
        return []
    knee = sweep["knee"]["rate"]
    rates = [
        (f"{step['rate']:g} requests a second", "the knee" if step["rate"] == knee else "", step) for step in steps
    ]
    speeds = [(name, [Value("now", step["output_tokens_per_second"], note)]) for name, note, step in rates]
    waits = [(name, [Value("now", step["ttft_p95_seconds"], note)]) for name, note, step in rates]
    return [
        ("Sweep: output tokens a second", build_chart("tokens a second at each rate", speeds, say=_say_speed)),
        ("Sweep: TTFT p95", build_chart("seconds at each rate", waits, say=_say_seconds)),
    ]


def _say_range(figure: Mapping[str, Any], name: str) -> str:
    say = _say_seconds if "_seconds." in name else _say_number
    return f"{say(figure['median'])} ({say(figure['least'])} to {say(figure['most'])})"


def _say_number(value: float) -> str:
    return f"{value:.4g}"


def _say_speed(value: float) -> str:
    return f"{value:.4g} tok/s"


def _say_seconds(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
