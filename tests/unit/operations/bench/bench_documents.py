"""Documents of benches as `stack bench` writes them, made from figures alone."""

from __future__ import annotations

import datetime
from typing import Any

from stack.history.records import BootStart, RunRecord
from stack.traffic.bench_load import build_load, build_load_document, with_prompts
from stack.traffic.bench_result import Measured, build_figures, build_repeat_document

STARTED = datetime.datetime(2026, 11, 22, 9, 0, tzinfo=datetime.UTC)
COMMIT = "c" * 40


def build_measured(speed: float, seconds: float = 0.5, failed: int = 0) -> Measured:
    rates = {"output_tokens_per_second": speed, "requests_per_second": speed / 64}
    values = {"mean": seconds, "p50": seconds, "p95": 2 * seconds, "p99": 3 * seconds}
    return Measured(48 - failed, failed, 30.0, 6144, 3072, rates, dict.fromkeys(("ttft", "tpot", "itl", "e2e"), values))


def build_bench(*speeds: float, **changes: Any) -> dict[str, Any]:
    measured = [build_measured(speed, 50 / speed) for speed in speeds]
    return {
        "engine": {"commit": COMMIT, "commit_level": "verified", "version": "0.31.0", "device": "cpu"},
        "model": {"model": "demo", "revision": "sha256:257c3afa88880c43"},
        "host": {"id": "1234abcd"},
        "preset": "chat",
        "load": build_load_document(with_prompts(build_load("chat", "cpu", 2048), 48)),
        "seconds": 30.0,
        "sweep": None,
        "repeats": [build_repeat_document(one) | {"seed": 7 + place} for place, one in enumerate(measured)],
        "figures": build_figures(measured),
        "completed": 48 * len(measured),
        "failed": 0,
        "errors": [],
        "foreign_requests": 0,
        "is_interrupted": False,
        "compared": None,
        "said": "what came of it",
        **changes,
    }


def build_record(number: int, report: dict[str, Any]) -> RunRecord:
    return RunRecord(number, "bench", None, STARTED, True, report)


def build_start(commit: str = COMMIT) -> BootStart:
    return BootStart(
        kind="k", started_at=STARTED, commit=commit, commit_level="verified", version="0.31.0", image_digest=None,
        image_id="sha256:1", model="demo", revision="sha256:257c3afa88880c43", device="cpu", host={"id": "1234abcd"},
    )  # fmt: skip
