"""`[slo]`: bounds that vLLM's histograms have, windows that Prometheus can look back over."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack.config.schema_slo import LATENCY_BOUNDS

INVENTORIES = sorted((Path(__file__).resolve().parents[2] / "fixtures" / "metrics").glob("vllm-*.txt"))
METRICS = {
    "ttft": "vllm:time_to_first_token_seconds",
    "itl": "vllm:inter_token_latency_seconds",
    "e2e": "vllm:e2e_request_latency_seconds",
}


@pytest.mark.parametrize("inventory", INVENTORIES, ids=lambda path: path.stem)
@pytest.mark.parametrize("name", METRICS)
def test_the_bounds_are_those_of_real_engines(inventory, name):
    lines = inventory.read_text(encoding="utf-8").splitlines()
    texts = [line.split('le="')[1].split('"')[0] for line in lines if line.startswith(METRICS[name] + "_bucket")]
    assert [float(text) for text in texts if text != "+Inf"] == list(LATENCY_BOUNDS[name])
    # The rules name a bound as Python writes it, which is how the engine does.
    assert [text for text in texts if text != "+Inf"] == [str(bound) for bound in LATENCY_BOUNDS[name]]


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        (
            "slo.ttft.seconds = 2",
            "slo.ttft.seconds: 2 is no bound of vLLM's histogram, so nobody can tell how many were as fast; the "
            "nearest are 1 and 2.5 (stack.toml:1)",
        ),
        (
            "slo.itl.seconds = 0.001",
            "slo.itl.seconds: 0.001 is no bound of vLLM's histogram, so nobody can tell how many were as fast; the "
            "first is 0.01 (stack.toml:1)",
        ),
        (
            "slo.e2e.seconds = 90000",
            "slo.e2e.seconds: 90000 is no bound of vLLM's histogram, so nobody can tell how many were as fast; the "
            "last is 7680 (stack.toml:1)",
        ),
        (
            'slo.window = "1d"',
            "slo.window: 1d is too short: alerts look back over three days; write `3d` or more (stack.toml:1)",
        ),
        ("slo.availability = 1.0", "slo.availability: must be less than 1, not 1.0 (stack.toml:1)"),
        ("slo.ttft.target = 0.2", "slo.ttft.target: must be at least 0.5, not 0.2 (stack.toml:1)"),
    ],
)
def test_objectives_that_cannot_be_measured_are_refused(problems, toml, message):
    assert problems(toml) == message


@pytest.mark.parametrize("toml", ["slo.ttft.seconds = 1", "slo.e2e.seconds = 0.8", 'slo.window = "3d"'])
def test_bounds_and_windows_that_can_be_are_taken(load, toml):
    assert load(toml).warnings == ()


def test_bounds_of_the_user_s_own_are_not_known_here(load):
    toml = "slo.ttft.seconds = 2\n[engine.args]\ncustom-histogram-buckets = 'x'"
    assert [str(warning.path) for warning in load(toml).warnings] == ["slo.ttft.seconds"]


def test_a_window_longer_than_prometheus_remembers_is_told(load):
    (warning,) = load('slo.window = "30d"').warnings
    assert "longer than Prometheus keeps samples (15d)" in warning.message
    assert load('slo.window = "30d"\nslo.enabled = false').warnings == ()
    assert load('slo.window = "30d"\nservices.prometheus.retention-time = "31d"').warnings == ()
