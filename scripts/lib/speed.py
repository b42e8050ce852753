"""How fast `stack` is, beside `docker compose up -d --wait` of the very same containers, in one run.

Both start from nothing in turns: prepared images and model, no containers. What Compose is given is the directory that
`stack eject` wrote, so images, arguments, mounts and ports are the same. The tool's own share is the median of the
differences of the pairs, which cancels what the machine does meanwhile. The first token is what a client sees: one that
asks for a token every 20 ms from the moment the command starts. `--wait` ends later than that: it waits for health
checks, and the engine's runs every 5 s, the first one 5 s after its start.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVED_NAME = "speed"
POLL_SECONDS = 0.02
ENGINE_SECONDS = 1800.0

UP, PLAIN_UP = "stack up, first token", "docker compose up, first token"
DOWN, PLAIN_DOWN = "stack down", "docker compose down"
UP_SHARE, DOWN_SHARE = "stack's own share of up", "stack's own share of down"
PAIRS = {UP_SHARE: (UP, PLAIN_UP), DOWN_SHARE: (DOWN, PLAIN_DOWN)}
QUICK = {
    "stack up, nothing to do": ("up", "--no-smoke"),
    "stack status": ("status",),
    "stack doctor": ("doctor",),
    "stack --help": ("--help",),
}
TARGETS = {
    UP_SHARE: 2.0,
    "stack up, nothing to do": 1.5,
    "stack status": 0.5,
    "stack doctor": 3.0,
    "stack --help": 0.1,
}
# With 3 doctor says that `up` would not work, as on a busy machine; with 1 smoke has found something.
_FINE = {"doctor": (0, 3), "smoke": (0, 1)}


@dataclass(frozen=True)
class Run:
    """One run of a command: how long it took, and how much CPU time."""

    seconds: float
    cpu_seconds: float
    first_token_seconds: float | None = None


@dataclass(frozen=True)
class Row:
    """One line of the table; `met` is None where nothing is aimed at."""

    name: str
    median_seconds: float
    min_seconds: float
    max_seconds: float
    runs: int
    cpu_seconds: float | None
    target_seconds: float | None
    met: bool | None


def build_rows(taken: Mapping[str, Sequence[Run]]) -> list[Row]:
    """Give the table's rows: what was measured, and what each pair differs by."""
    times = {name: [_pick_seconds(name, run) for run in runs] for name, runs in taken.items() if runs}
    cpu = {name: statistics.median(run.cpu_seconds for run in runs) for name, runs in taken.items() if runs}
    for name, (ours, plain) in PAIRS.items():
        if ours in times and plain in times:
            times[name] = [one - other for one, other in zip(times[ours], times[plain], strict=True)]
    return [_build_row(name, seconds, cpu.get(name)) for name, seconds in times.items()]


def _pick_seconds(name: str, run: Run) -> float:
    if name not in (UP, PLAIN_UP):
        return run.seconds
    assert run.first_token_seconds is not None, "an `up` that ended well gave no token"
    return run.first_token_seconds


def _build_row(name: str, seconds: Sequence[float], cpu_seconds: float | None) -> Row:
    median, target = statistics.median(seconds), TARGETS.get(name)
    met = None if target is None else median <= target
    return Row(name, median, min(seconds), max(seconds), len(seconds), cpu_seconds, target, met)


def render_rows(rows: Sequence[Row]) -> str:
    """Give the table as text."""
    lines = [f"{'SECONDS':38} {'MEDIAN':>7} {'MIN':>7} {'MAX':>7} {'CPU':>6} {'N':>3} {'TARGET':>7}  MET"]
    for row in rows:
        cpu, target = _show(row.cpu_seconds, 2), _show(row.target_seconds, 1)
        met = {None: "", True: "yes", False: "NO"}[row.met]
        figures = f"{row.median_seconds:7.2f} {row.min_seconds:7.2f} {row.max_seconds:7.2f} {cpu:>6} {row.runs:3}"
        lines.append(f"{row.name:38} {figures} {target:>7}  {met}".rstrip())
    return "\n".join(lines)


def _show(seconds: float | None, digits: int) -> str:
    return "" if seconds is None else f"{seconds:.{digits}f}"


class Bench:
    """Both ways of starting one project, in a folder of its own; an engine of None is the one that `stack` chooses."""

    def __init__(self, folder: Path, engine: str | None, engine_only: bool) -> None:
        self.folder, self.plain = folder, folder / "plain"
        self.project = f"stack-speed-{os.getpid()}"
        # Named, so that nobody is given one of them while the plain directory is what runs.
        self.port, self.prometheus, grafana = (_find_free_port() for _ in range(3))
        overrides = {"XDG_STATE_HOME": str(folder / "state"), "XDG_CACHE_HOME": str(folder / "cache")}
        self.environ = dict(os.environ) | overrides | {"NO_COLOR": "1"}
        named = f'image = "{engine}"\ndevice = "cpu"\n' if engine else ""
        watchers = {"prometheus": f"port = {self.prometheus}", "grafana": f"port = {grafana}", "node-exporter": ""}
        said = {name: "enabled = false" if engine_only else text for name, text in watchers.items()}
        services = "".join(f"[services.{name}]\n{text}\n" for name, text in said.items())
        (folder / "stack.toml").write_text(
            f'project = "{self.project}"\n[model]\nid = "demo"\nserved-name = "{SERVED_NAME}"\n'
            f'[engine]\n{named}accept = "claimed"\n[services.engine]\nport = {self.port}\n{services}'
        )

    def prepare(self) -> None:
        """Have images, model and compile caches in place, and write the plain directory."""
        self.run_stack("up", "--no-smoke")
        self.run_stack("eject", str(self.plain))
        self.run_stack("down")

    def run_stack(self, *arguments: str) -> Run:
        """Run a command of the tool."""
        return self._run([sys.executable, "-m", "stack", *arguments], self.folder)

    def run_plain(self, *arguments: str) -> Run:
        """Run a verb of Compose in the plain directory."""
        return self._run(["docker", "compose", *arguments], self.plain)

    def measure_round(self, taken: dict[str, list[Run]], *, ours_first: bool) -> None:
        """Take every figure once more."""
        for is_ours in (ours_first, not ours_first):
            if is_ours:
                taken.setdefault(UP, []).append(self.run_stack("up", "--no-smoke"))
                for name, arguments in QUICK.items():
                    taken.setdefault(name, []).append(self.run_stack(*arguments))
                taken.setdefault(DOWN, []).append(self.run_stack("down"))
            else:
                taken.setdefault(PLAIN_UP, []).append(self.run_plain("up", "--detach", "--wait"))
                taken.setdefault(PLAIN_DOWN, []).append(self.run_plain("down"))

    def remove(self) -> None:
        """Take the containers and their volumes away; the plain directory is a project of its own."""
        if self.plain.is_dir():
            self.run_plain("down", "--volumes")
        self.run_stack("down", "--volumes")

    def _run(self, argv: Sequence[str], cwd: Path) -> Run:
        with tempfile.TemporaryFile() as said:
            began = time.monotonic()
            process = subprocess.Popen(argv, cwd=cwd, env=self.environ, stdout=said, stderr=said)
            first: list[float] = []
            done = threading.Event()
            poller = threading.Thread(target=self._poll, args=(began, first, done))
            if "up" in argv:
                poller.start()
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.monotonic() - began
            process.returncode = os.waitstatus_to_exitcode(status)
            done.set()
            if poller.ident is not None:
                poller.join()
            if process.returncode not in _FINE.get(argv[-1], (0,)):
                said.seek(0)
                raise SystemExit(f"{' '.join(argv)} ended with {process.returncode}\n{said.read().decode()}")
        return Run(seconds, usage.ru_utime + usage.ru_stime, first[0] if first else None)

    def _poll(self, began: float, first: list[float], done: threading.Event) -> None:
        """Ask for a token until there is one; once more after the command has ended."""
        body = json.dumps({"model": SERVED_NAME, "prompt": "Hello", "max_tokens": 1})
        is_last = False
        while not is_last and time.monotonic() - began < ENGINE_SECONDS:
            is_last = done.is_set()
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            try:
                connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
                if connection.getresponse().status == 200:
                    first.append(time.monotonic() - began)
                    return
            except (OSError, http.client.HTTPException):
                pass
            finally:
                connection.close()
            time.sleep(POLL_SECONDS)


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/speed", description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="pairs to take (default 5)")
    parser.add_argument("--engine", choices=["fake", "real"], default="fake", help="which engine (default fake)")
    parser.add_argument("--engine-only", action="store_true", help="leave out Prometheus, Grafana and node-exporter")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print the table."""
    asked = _parse(argv)
    # As Ctrl-C: what was started is taken away.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    image = None
    if asked.engine == "fake":
        sys.path.insert(0, str(ROOT))
        from tests.fixtures.fake_engine_image import build_fake_engine

        image = build_fake_engine("")
    folder = Path(tempfile.mkdtemp(prefix="stack-speed-"))
    folder.chmod(0o755)
    bench = Bench(folder, image, asked.engine_only)
    taken: dict[str, list[Run]] = {}
    try:
        bench.prepare()
        for number in range(asked.runs):
            bench.measure_round(taken, ours_first=number % 2 == 0)
    finally:
        bench.remove()
        shutil.rmtree(folder, ignore_errors=True)
    rows = build_rows(taken)
    document = {"schema_version": 1, "engine": asked.engine, "project": bench.project, "rows": [*map(vars, rows)]}
    sys.stdout.write((json.dumps(document, indent=2) if asked.json else render_rows(rows)) + "\n")


if __name__ == "__main__":
    main()
