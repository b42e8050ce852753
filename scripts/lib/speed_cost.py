"""What the observability services cost: tokens a second, memory, series, and a day's queries of the dashboards.

One stack is started, and removed at the end.

engine   the same load in turns, with Prometheus, node-exporter and Grafana running and paused; neighbours of the same
         kind are the control, which shows what two windows differ by anyway; and the CPU time that they, and the
         engine's page for them, take from it
memory   what those services hold while they scrape, without the page cache
series   what Prometheus keeps, by where it comes from
queries  a day of samples is backfilled at the stack's interval from a recorded page of vLLM and what the other
         services export, the recording rules are evaluated over it, and every query of the dashboards is asked as
         Grafana asks it for the last 24 hours
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import docker
import httpx2
from cost_day import read_disk_megabytes, read_engine_sources, read_sources, record_rules, restart, write_blocks
from cost_engine import Load, keep_busy, run_windows
from cost_queries import Asker, build_values, load_queries, measure
from cost_stack import Stack
from cost_table import Row, build_engine_rows, build_query_rows, build_row, pick_shown, render_rows
from speed import ROOT, SERVED_NAME, Bench

sys.path.insert(0, str(ROOT))

from stack.assets import asset_path
from stack.telemetry.prometheus_api import PrometheusApi
from tests.fixtures.fake_engine_image import build_fake_engine

PARTS = ("engine", "memory", "series", "queries")
PAGE = ROOT / "tests" / "fixtures" / "metrics" / "vllm-0.32.0.txt"
INTERVAL_SECONDS = 5
SERIES = {
    "on this engine's page": 'scrape_samples_scraped{job="vllm"}',
    "of this engine, kept": 'scrape_samples_post_metric_relabeling{job="vllm"}',
    "of node-exporter": 'scrape_samples_post_metric_relabeling{job="node"}',
    "of Prometheus itself": 'scrape_samples_post_metric_relabeling{job="prometheus"}',
    "of recording rules": 'count({__name__=~".+:.+", __name__!~"vllm:.+"})',
    "in all": "prometheus_tsdb_head_series",
}


def say(text: str) -> None:
    """Say what is being done, beside the result."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')}  {text}\n")


def measure_engine(stack: Stack, pairs: int, seconds: float) -> tuple[list[Row], list[str]]:
    """Watch the engine under one load in turns with and without the services."""
    windows, began = [], time.time()
    turns = run_windows(stack.read_tokens, seconds, pairs, switch=stack.switch, count_cpu=stack.count_cpu)
    try:
        with keep_busy(stack.bench.port, Load(SERVED_NAME)):
            for one in turns:
                windows.append(one)
                kind = "with" if one.has_services else "without"
                say(f"{len(windows)} of {2 * pairs}, {kind} the services: {one.tokens_per_second:.1f} tokens/s")
    finally:
        stack.switch(True)
    found = stack.api.query(f'scrape_duration_seconds{{job="vllm"}}[{math.ceil(time.time() - began)}s]')
    scrapes = [seconds for series in found for _, seconds in series.points]
    return build_engine_rows(windows, os.cpu_count() or 1, scrapes, INTERVAL_SECONDS)


def measure_memory(stack: Stack, minutes: float, *, when: str) -> list[Row]:
    """Watch for so long what each service holds, which includes what it kept from before."""
    taken: dict[str, list[float]] = {}
    end = time.monotonic() + 60 * minutes
    while not taken or time.monotonic() < end:
        for name, size in stack.read_memory().items():
            taken.setdefault(name, []).append(size)
        say(", ".join(f"{name} {sizes[-1]:.0f} MiB" for name, sizes in taken.items()))
        time.sleep(INTERVAL_SECONDS if minutes else 0)
    rows = [build_row(f"memory of {name}, {when}", "MiB", sizes) for name, sizes in taken.items()]
    return [*rows, build_row(f"memory in all, {when}", "MiB", [sum(one) for one in zip(*taken.values(), strict=True)])]


def count_series(api: PrometheusApi) -> list[Row]:
    """Ask Prometheus how many series it keeps, of whom; a fake engine has few, so a recorded page is counted too."""
    recorded = read_engine_sources(PAGE, SERVED_NAME)
    found = {f"of a recorded page of {PAGE.stem}, kept": [len(recorded)]}
    found |= {name: [one.value for one in api.query(expr)] for name, expr in SERIES.items()}
    return [build_row(f"series {name}", "series", counts) for name, counts in found.items() if counts]


def measure_queries(stack: Stack, began: int, hours: float, repeats: int) -> tuple[list[Row], list[str]]:
    """Backfill the time before the stack began, and ask every query of the dashboards for it."""
    container = stack.services["prometheus"]
    # What a boot and a smoke wrote down is among what is backfilled.
    stack.bench.run_stack("smoke")
    time.sleep(2 * INTERVAL_SECONDS)
    end = began // 60 * 60 - 60
    begin = end - int(3600 * hours)
    sources = read_sources(stack.api, PAGE, SERVED_NAME)
    samples = write_blocks(container, sources, begin, end, INTERVAL_SECONDS, say)
    restart(container, stack.api)
    names = record_rules(container, stack.api, begin, end, INTERVAL_SECONDS, say)
    seconds = end - begin
    queries = load_queries(asset_path("grafana", "dashboards"), build_values(seconds, INTERVAL_SECONDS))
    say(f"asking {len(queries)} queries {repeats} times")
    timed = measure(queries, Asker(stack.http, stack.url, end, seconds), repeats)
    rows, notes = build_query_rows(timed)
    size = read_disk_megabytes(container)
    held = f"{hours:g} h are {samples / 1e6:.1f} million samples of {len(sources)} series"
    held += f" and {names} recorded names, {size:.0f} MB on disk"
    return rows, [held, *notes]


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/speed cost", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"what to measure: {', '.join(PARTS)} (default: all)")
    parser.add_argument("--engine", choices=["fake", "real"], default="fake", help="which engine (default fake)")
    parser.add_argument("--pairs", type=int, default=10, help="pairs with and without the services (default 10)")
    parser.add_argument("--seconds", type=float, default=20, help="how long each half of a pair is (default 20)")
    parser.add_argument("--minutes", type=float, default=3, help="how long memory is watched (default 3)")
    parser.add_argument("--hours", type=float, default=24, help="how much data the queries meet (default 24)")
    parser.add_argument("--repeats", type=int, default=20, help="how often each query is asked (default 20)")
    parser.add_argument("--json", action="store_true", help="print one JSON document, with every query")
    asked = parser.parse_args(argv)
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"no part is called {', '.join(sorted(unknown))}: there are {', '.join(PARTS)}")
    return asked


def _measure(stack: Stack, asked: argparse.Namespace) -> tuple[list[Row], list[str]]:
    began, parts = int(time.time()), asked.parts or PARTS
    rows: list[Row] = []
    notes: list[str] = []
    say("starting the stack")
    stack.start()
    say(f"services: {', '.join(stack.services)}")
    if "engine" in parts:
        found, said = measure_engine(stack, asked.pairs, asked.seconds)
        rows, notes = rows + found, notes + said
    if "memory" in parts:
        rows += measure_memory(stack, asked.minutes, when="scraping")
    if "series" in parts:
        rows += count_series(stack.api)
    if "queries" in parts:
        found, said = measure_queries(stack, began, asked.hours, asked.repeats)
        rows, notes = rows + found, notes + said
        if "memory" in parts:
            rows += measure_memory(stack, 0, when="after the queries")
    return rows, notes


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print the table."""
    asked = _parse(argv)
    # As Ctrl-C: what was started is taken away.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    image = build_fake_engine("") if asked.engine == "fake" else None
    folder = Path(tempfile.mkdtemp(prefix="stack-speed-"))
    folder.chmod(0o755)
    bench = Bench(folder, image, engine_only=False)
    client = docker.from_env(timeout=600)
    try:
        with httpx2.Client(trust_env=False) as http:
            rows, notes = _measure(Stack(bench, client, http), asked)
    finally:
        bench.remove()
        client.close()
        shutil.rmtree(folder, ignore_errors=True)
    document = {
        "schema_version": 1,
        "engine": asked.engine,
        "project": bench.project,
        "rows": [*map(vars, rows)],
        "notes": notes,
    }
    sys.stdout.write((json.dumps(document, indent=2) if asked.json else render_rows(pick_shown(rows), notes)) + "\n")


if __name__ == "__main__":
    main()
