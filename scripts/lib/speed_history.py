"""How fast the history answers with 10,000 runs: boots with phases, smokes with whole reports, replays."""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from stack.history.query import Wanted, find_entries, find_entry
from stack.history.store import History, open_history

TARGET_SECONDS = 0.1
PHASES = ("load", "compile", "kv-cache", "graphs", "server", "first-token")
START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
_CHECK = {"check": "canaries", "status": "pass", "message": "5 right answers, smallest margin 15.6 nats",
          "seconds": 0.2, "hint": None, "data": {"margins": [16.82, 16.82, 16.82, 15.61, 20.434]}}  # fmt: skip


def fill(history: History, runs: int) -> None:
    """Put that many runs into a history: four boots and four smokes of ten, a replay and an upgrade."""
    groups = runs // 10
    lock = history.note_lock("# a lock\n" * 200, START)
    report = json.dumps({"schema_version": 1, "passed": True, "seconds": 2.0, "checks": [_CHECK] * 20})
    boots, phases, smokes, others = [], [], [], []
    for number in range(1, 4 * groups + 1):
        at = (START + datetime.timedelta(minutes=30 * number)).isoformat(timespec="milliseconds")
        commit = f"{number % 50:02x}" * 20
        model = f"org/model-{number % 20}"
        boots.append((number, f"kind-{number % 60}", at, commit, "verified", "0.31.0", "sha256:1", model, "c1899de",
                      "cuda", json.dumps({"argv": ["--flag"] * 30}), "warm", 41.0, "ready", lock, "{}"))  # fmt: skip
        phases += [(number, phase, 5.0) for phase in PHASES]
        smokes.append((number, number, at, number % 7 != 0, report))
        if number % 2 == 0:
            others.append((("replay", "upgrade")[number % 4 // 2], at, number, 1, report))
    with history.writing() as connection:
        connection.executemany(
            'INSERT INTO boots (id, kind, started_at, "commit", commit_level, version, image_id, model, revision, '
            "device, args, cache_state, total_seconds, outcome, lock_sha256, host) "
            f"VALUES ({', '.join('?' * 16)})",
            boots,
        )
        connection.executemany("INSERT INTO phases VALUES (?, ?, ?)", phases)
        connection.executemany("INSERT INTO smokes VALUES (?, ?, ?, ?, ?)", smokes)
        connection.executemany(
            "INSERT INTO runs (kind, started_at, boot_id, passed, report) VALUES (?, ?, ?, ?, ?)", others
        )


def build_queries(history: History) -> dict[str, Callable[[], object]]:
    """Give what is measured, by name."""
    middle = max(history.recent_boots(1)[0].id // 2, 1)
    return {
        "newest 20 of all kinds": lambda: find_entries(history, Wanted()),
        "newest 20 boots of a commit": lambda: find_entries(history, Wanted(commit="0a0a", kind="boot")),
        "newest 20 of a model": lambda: find_entries(history, Wanted(model="model-7@c1899")),
        "a model that never ran": lambda: find_entries(history, Wanted(model="nobody")),
        "smokes of the last week": lambda: find_entries(history, Wanted(since=START, kind="smoke")),
        "one boot": lambda: find_entry(history, "boot", middle),
        "boots of one kind": lambda: history.boots_of_kind("kind-7", 20),
        "locks that passed": lambda: history.find_passed_locks(10),
        "the last smoke of a boot": lambda: history.last_smoke(middle),
        "open and check the file": lambda: open_history(history.path),
        "record a boot's phase": lambda: history.record_phase(middle, "load", 5.0),
    }


def measure(call: Callable[[], object], repeats: int) -> list[float]:
    """Give the seconds that each of several calls took."""
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return taken


def render_row(name: str, seconds: Sequence[float]) -> str:
    """Give a line of the table."""
    median, worst = statistics.median(seconds), max(seconds)
    return f"{name:30} {median * 1000:8.1f} {worst * 1000:8.1f}  {'yes' if median <= TARGET_SECONDS else 'NO'}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a table; exit with 1 where a query takes longer than aimed at."""
    parser = argparse.ArgumentParser(prog="scripts/speed history", description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000, help="runs in the history (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=9, help="how often each query is asked (default: %(default)s)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="stack-speed-history-") as folder:
        history = open_history(Path(folder) / "history.sqlite")
        fill(history, options.runs)
        size = history.path.stat().st_size
        rows = {name: measure(call, options.repeats) for name, call in build_queries(history).items()}
    lines = [
        f"{options.runs} runs, {size / 1e6:.0f} MB, aimed at {TARGET_SECONDS * 1000:.0f} ms",
        f"{'MILLISECONDS':30} {'MEDIAN':>8} {'MAX':>8}  MET",
        *(render_row(name, seconds) for name, seconds in rows.items()),
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if all(statistics.median(seconds) <= TARGET_SECONDS for seconds in rows.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
