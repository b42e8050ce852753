"""How fast `stack bundle` is, beside `docker save | zstd -T0` and `docker load` of the very same images, in one run.

The project's services are those of a stack; its model is a small one, for Docker moves images only. Each figure is
the median of turns that are taken one after the other. A second save is one after a small new layer on the engine.
What is loaded into is an engine of its own without images, which needs root.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

SAVE, PLAIN_SAVE = "bundle save FILE", "docker save | zstd -T0"
FIRST, SECOND = "bundle save DIR, first", "bundle save DIR, one small layer later"
LOAD, PLAIN_LOAD = "bundle load DIR", "docker load"
TARGETS = {SAVE: (PLAIN_SAVE, 1.0), SECOND: (FIRST, 0.05), LOAD: (PLAIN_LOAD, 1.0)}


@dataclass(frozen=True)
class Row:
    """One line of the table; `ratio` and `met` are None where nothing is aimed at."""

    name: str
    median_seconds: float
    min_seconds: float
    max_seconds: float
    runs: int
    against: str | None
    ratio: float | None
    target_ratio: float | None
    met: bool | None


def build_rows(taken: Mapping[str, Sequence[float]]) -> list[Row]:
    """Give the table's rows: medians, each target's ratio to what it is measured against."""
    medians = {name: statistics.median(seconds) for name, seconds in taken.items()}
    rows = []
    for name, seconds in taken.items():
        against, target = TARGETS.get(name, (None, None))
        ratio = medians[name] / medians[against] if against in medians else None
        met = None if ratio is None or target is None else ratio <= target
        limits = (min(seconds), max(seconds))
        rows.append(Row(name, medians[name], *limits, len(seconds), against, ratio, target, met))
    return rows


def render_rows(rows: Sequence[Row]) -> str:
    """Give the table as text."""
    lines = [f"{'SECONDS':40} {'MEDIAN':>7} {'MIN':>7} {'MAX':>7} {'N':>3} {'RATIO':>6} {'TARGET':>7}  MET"]
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        target = "" if row.target_ratio is None else f"{row.target_ratio:.2f}"
        met = {None: "", True: "yes", False: "NO"}[row.met]
        figures = f"{row.median_seconds:7.2f} {row.min_seconds:7.2f} {row.max_seconds:7.2f} {row.runs:3}"
        lines.append(f"{row.name:40} {figures} {ratio:>6} {target:>7}  {met}".rstrip())
    return "\n".join(lines)


class Bench:
    """One project in a folder of its own: it comes up with the fake engine, and is saved with the chosen one."""

    def __init__(self, folder: Path, fake: str, engine: str) -> None:
        self.folder, self.fake, self.engine = folder, fake, engine
        self.project = f"stack-speed-{os.getpid()}"
        names = {"HOME": "home", "XDG_STATE_HOME": "state", "XDG_CACHE_HOME": "cache", "XDG_DATA_HOME": "data"}
        self.environ = dict(os.environ) | {name: str(folder / value) for name, value in names.items()}
        self.environ |= {"NO_COLOR": "1", "PYTHONPATH": str(ROOT)}
        (folder / "home").mkdir()

    def prepare(self) -> None:
        """Have a stack that came up."""
        from tests.unit.models.conftest import build_model_files, write_files

        write_files(self.folder / "model", build_model_files())
        self._write_config(self.fake)
        self.run_stack("up", "--no-smoke")
        self.run_stack("down")
        self._write_config(self.engine)

    def _write_config(self, image: str) -> None:
        (self.folder / "stack.toml").write_text(
            f'project = "{self.project}"\n[model]\nid = "./model"\n[engine]\nimage = "{image}"\ndevice = "cpu"\n'
            "[services.grafana]\nenabled = false\n"
        )

    def run_stack(self, *arguments: str) -> float:
        """Run a command of the tool and give its seconds."""
        return self.run([sys.executable, "-m", "stack", *arguments])

    def run(self, argv: Sequence[str], **changes: str) -> float:
        """Run a command and give its seconds; what it writes is on the disk when the time stops."""
        began = time.monotonic()
        done = subprocess.run(argv, cwd=self.folder, env=self.environ | changes, capture_output=True, text=True)
        os.sync()
        seconds = time.monotonic() - began
        if done.returncode:
            raise SystemExit(f"{' '.join(argv)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return seconds

    def list_images(self) -> list[str]:
        """Give the images of the bundle that was saved last, by their IDs."""
        listed = subprocess.run(
            [sys.executable, "-m", "stack", "bundle", "list", "dir", "--json"],
            cwd=self.folder, env=self.environ, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return [item["image_id"] for item in json.loads(listed.stdout)["images"]]

    def measure_save(self, taken: dict[str, list[float]], *, ours_first: bool) -> None:
        """Save to a file, ours and Docker's, in turns."""
        images = " ".join(self.list_images())
        for is_ours in (ours_first, not ours_first):
            if is_ours:
                (self.folder / "ours.tar.zst").unlink(missing_ok=True)
                seconds = self.run_stack("bundle", "save", "ours.tar.zst", "--no-tool")
                taken.setdefault(SAVE, []).append(seconds)
            else:
                pipe = f"set -o pipefail; docker save {images} | zstd -T0 -q -f -o plain.tar.zst"
                taken.setdefault(PLAIN_SAVE, []).append(self.run(["bash", "-c", pipe]))

    def measure_directory(self, taken: dict[str, list[float]], number: int) -> None:
        """Save to a directory, and again when the engine has one small layer more."""
        shutil.rmtree(self.folder / "dir", ignore_errors=True)
        self._write_config(self.engine)
        taken.setdefault(FIRST, []).append(self.run_stack("bundle", "save", "dir", "--no-tool"))
        name = f"localhost/stack-speed/engine:{os.getpid()}-{number}"
        text = f"FROM {self.engine}\nUSER root\nRUN echo {name} > /etc/speed\n"
        argv = ["docker", "build", "--quiet", "--tag", name, "-"]
        subprocess.run(argv, input=text, text=True, check=True, capture_output=True, env=self.environ)
        try:
            self._write_config(name)
            taken.setdefault(SECOND, []).append(self.run_stack("bundle", "save", "dir", "--no-tool"))
        finally:
            subprocess.run(["docker", "rmi", "--force", name], capture_output=True)
        self._write_config(self.engine)
        self.run_stack("bundle", "save", "dir", "--no-tool")

    def measure_load(self, taken: dict[str, list[float]], host: str, *, ours_first: bool) -> None:
        """Load into an engine without images, ours and Docker's, in turns."""
        for is_ours in (ours_first, not ours_first):
            if is_ours:
                shutil.rmtree(self.folder / "to", ignore_errors=True)
                places = {name: str(self.folder / "to" / name) for name in ("XDG_STATE_HOME", "XDG_DATA_HOME")}
                argv = [sys.executable, "-m", "stack", "bundle", "load", "dir", "--to", "to"]
                taken.setdefault(LOAD, []).append(self.run(argv, DOCKER_HOST=host, **places))
            else:
                argv = ["docker", "load", "-q", "-i", "plain.tar"]
                taken.setdefault(PLAIN_LOAD, []).append(self.run(argv, DOCKER_HOST=host))
            listing = ["docker", "-H", host, "images", "-q", "--no-trunc"]
            ids = set(subprocess.run(listing, capture_output=True, text=True, check=True).stdout.split())
            subprocess.run(["docker", "-H", host, "rmi", "-f", *ids], check=True, capture_output=True)

    def remove(self) -> None:
        """Take the project away."""
        subprocess.run(
            [sys.executable, "-m", "stack", "down", "--volumes"], cwd=self.folder, env=self.environ, capture_output=True
        )


def _measure(bench: Bench, runs: int, only: set[str]) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {}
    bench.prepare()
    for number in range(runs if "dir" in only else 0):
        bench.measure_directory(taken, number)
    if not (bench.folder / "dir").exists():
        bench.run_stack("bundle", "save", "dir", "--no-tool")
    for number in range(runs if "file" in only else 0):
        bench.measure_save(taken, ours_first=number % 2 == 0)
    if "load" in only:
        from tests.fixtures.private_daemon import PrivateDaemon

        bench.run(["docker", "save", "-o", "plain.tar", *bench.list_images()])
        daemon = PrivateDaemon()
        try:
            daemon.start()
            for number in range(runs):
                bench.measure_load(taken, daemon.host, ours_first=number % 2 == 0)
        finally:
            daemon.close()
    return taken


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/speed bundle", description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3, help="turns to take (default 3)")
    parser.add_argument("--engine", default=None, help="an engine's image that is here (default: the fake one)")
    parser.add_argument("--only", action="append", choices=["dir", "file", "load"], help="what to measure")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print the table."""
    asked = _parse(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.path.insert(0, str(ROOT))
    from tests.fixtures.fake_engine_image import build_fake_engine

    fake = build_fake_engine("")
    folder = Path(tempfile.mkdtemp(prefix="stack-speed-"))
    folder.chmod(0o755)
    bench = Bench(folder, fake, asked.engine or fake)
    try:
        taken = _measure(bench, asked.runs, set(asked.only or ["dir", "file", "load"]))
    finally:
        bench.remove()
        shutil.rmtree(folder, ignore_errors=True)
    rows = build_rows(taken)
    document = {"schema_version": 1, "engine": bench.engine, "rows": [*map(vars, rows)]}
    sys.stdout.write((json.dumps(document, indent=2) if asked.json else render_rows(rows)) + "\n")


if __name__ == "__main__":
    main()
