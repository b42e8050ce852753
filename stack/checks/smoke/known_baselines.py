"""Baselines that are known before the first boot, so that the first boot of the demo model is judged too."""

from __future__ import annotations

from stack.checks.finding import Baseline
from stack.checks.smoke.baseline import LEAST_TOLERANCE_NATS

# The default texts that the values below belong to (sha256 of them, joined by line ends).
TEXTS_DIGEST = "b6366d2985b499390897c303d5650cbb8617e68c6c2f965f2c0f57722d6daf2d"

# The demo model, computed in float32 by an implementation in NumPy that shares nothing with vLLM.
# vLLM (an engine that calls itself 0.31.0) in bfloat16 on a CPU gives 3.267, 3.577, 3.517 and 0.310.
_DEMO = Baseline(
    "sha256:257c3afa88880c437f9eb11398ba55bf654e4fb2b618ab61cedfae61f9d282c8",
    {"default-1": 3.265, "default-2": 3.570, "default-3": 3.518, "again": 0.310},
    dict.fromkeys(("default-1", "default-2", "default-3", "again"), LEAST_TOLERANCE_NATS),
)
KNOWN = {_DEMO.model_revision: _DEMO}


def find_known_baseline(revision: str) -> Baseline | None:
    """Find the baseline of a model revision that is known without a run.

    It holds for the model as its files are: with engine args that change its numbers on purpose (a
    quantisation, another rotary base) an earlier run is the only measure.
    """
    return KNOWN.get(revision)
