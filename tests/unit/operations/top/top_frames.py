"""Frames of `stack top`, built from recorded pages."""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any

from stack.checks.gpu_load import GpuLoad
from stack.operations.top.place import Runs
from stack.operations.top.run import Alerts, Frame
from stack.telemetry.exposition import Exposition
from stack.telemetry.live import build_live
from stack.telemetry.prometheus_api import Alert
from tests.unit.telemetry.diagnosis.pages import BASE, KV, MADE, READ, RUNNING, build_page, relabel

AT = datetime.datetime(2026, 11, 22, 8, 44, 49, tzinfo=datetime.UTC)
TTFT, ITL = "vllm:time_to_first_token_seconds", "vllm:inter_token_latency_seconds"
RUNS = Runs(
    project="demo", version="0.32.0", commit="0123456789abcdef0123456789abcdef01234567", commit_level="verified",
    model="acme/tiny", revision="89abcdef0123456789abcdef0123456789abcdef", served_name="production", device="cuda",
    started_at=AT - datetime.timedelta(hours=2, minutes=5), smoke_passed=True,
    smoke_at=AT - datetime.timedelta(minutes=30),
)  # fmt: skip
GPU = GpuLoad(0, "GPU-0", "NVIDIA GeForce RTX 4090", 0.98, 21_300_000_000, 25_757_000_000, 412.3, 450.0, 67)
FIRING = Alert(
    {"alertname": "VllmQueueGrowing", "severity": "warning"}, "firing", "2026-11-22T08:34:49.123456789Z",
    "the queue does not drain",
)  # fmt: skip
PENDING = Alert({"alertname": "VllmSmokeStale"}, "pending", "2026-11-22T08:40:00Z", "")


def build_busy(seconds: float = 2.0, engines: int = 1) -> Any:
    """Give what engines do that made 840 tokens each, of which one in ten took more than 0.1 s."""
    bounds = [sample.labels["le"] for sample in BASE.select(f"{ITL}_bucket")]
    rose = {f'{ITL}_bucket{{le="{bound}"}}': 800 if float(bound) <= 0.1 else 840 for bound in bounds}
    rose = {key: count if float(key.split('"')[1]) >= 0.1 else 0 for key, count in rose.items()}
    rose |= {f"{ITL}_count": 840, MADE: 840, READ: 5000, 'vllm:request_success_total{finished_reason="stop"}': 8}
    before = build_page(BASE, {RUNNING: 12, KV: 0.432})
    samples = before.samples
    for number in range(1, engines):
        samples += relabel(before, engine=str(number), model_name=f"another-model-with-a-name-{number}")
    pages = Exposition(samples, BASE.types)
    return build_live(pages, build_page(pages, rose, adds=True), seconds)


def build_frame(**changes: Any) -> Frame:
    """Give the frame of a project whose engine is busy."""
    frame = Frame(AT, "http://127.0.0.1:8000", RUNS, build_busy(), None, (), Alerts(()))
    return replace(frame, **changes)
