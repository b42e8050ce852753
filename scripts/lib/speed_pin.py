"""How fast `stack pin` is with a commit that a registry on loopback has, and how often it asks that registry."""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.fixtures.local_registry import LocalRegistry, serve_registry  # noqa: E402

COMMIT = "5eed" * 10
TARGET_SECONDS, TARGET_REQUESTS = 1.0, 3


@dataclass(frozen=True)
class Turn:
    """One pin: its seconds from start to end of the process, and its requests to the registry."""

    seconds: float
    requests: int


def push(registry: LocalRegistry) -> None:
    """Give the registry an image of the commit, as upstream serves it: an index with a platform's manifest."""
    child, _ = registry.push_image("vllm", "child", labels={"org.opencontainers.image.revision": COMMIT})
    registry.push_index("vllm", f"nightly-{COMMIT}", child)


def measure(registry: LocalRegistry, folder: Path, runs: int) -> list[Turn]:
    """Pin that often, each time without a lock.

    Raises:
        RuntimeError: A pin failed.
    """
    (folder / "stack.toml").write_text(
        f'[images.sources]\nnightly = "{registry.host}/vllm:nightly-{{commit}}"\n', encoding="utf-8"
    )
    argv = [sys.executable, "-m", "stack", "pin", COMMIT, "--device", "cpu", "--accept", "claimed"]
    environ = os.environ | {"XDG_STATE_HOME": str(folder / "state"), "XDG_DATA_HOME": str(folder / "data")}
    turns = []
    for _ in range(runs):
        (folder / "stack.lock").unlink(missing_ok=True)
        before, began = len(registry.requests()), time.perf_counter()
        done = subprocess.run(argv, cwd=folder, env=environ, capture_output=True, text=True)
        seconds = time.perf_counter() - began
        if done.returncode:
            raise RuntimeError(done.stderr)
        turns.append(Turn(seconds, len(registry.requests()) - before))
    return turns


def render(turns: Sequence[Turn]) -> list[str]:
    """Give the table."""
    seconds, requests = [turn.seconds for turn in turns], max(turn.requests for turn in turns)
    median = statistics.median(seconds)
    return [
        f"{'STACK PIN COMMIT':24} {'MEDIAN':>8} {'MAX':>8} {'AIMED AT':>9}  MET",
        f"{'seconds':24} {median:8.2f} {max(seconds):8.2f} {TARGET_SECONDS:9.2f}  {_met(median <= TARGET_SECONDS)}",
        f"{'requests':24} {requests:8} {requests:8} {TARGET_REQUESTS:9}  {_met(requests <= TARGET_REQUESTS)}",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a table; exit with 1 where it is slower or asks more than aimed at."""
    parser = argparse.ArgumentParser(prog="scripts/speed pin", description=__doc__)
    parser.add_argument("--runs", type=int, default=9, help="how often it is pinned (default: %(default)s)")
    options = parser.parse_args(arguments)
    if shutil.which("docker-registry") is None:
        sys.stderr.write("needs a real registry: apt-get install docker-registry\n")
        return 3
    with tempfile.TemporaryDirectory(prefix="stack-speed-pin-") as name:
        folder = Path(name)
        with serve_registry(folder) as registry:
            push(registry)
            turns = measure(registry, folder, options.runs)
    lines = render(turns)
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if any(line.endswith("NO") for line in lines) else 0


def _met(is_met: bool) -> str:
    return "yes" if is_met else "NO"


if __name__ == "__main__":
    sys.exit(main())
