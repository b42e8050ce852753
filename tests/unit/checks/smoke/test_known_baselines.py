"""What is known of the demo model belongs to the demo model and the texts of today."""

from __future__ import annotations

import hashlib

from stack.checks.smoke.check_likelihood import AGAIN_NATS
from stack.checks.smoke.defaults import TEXTS
from stack.checks.smoke.known_baselines import TEXTS_DIGEST, find_known_baseline
from stack.models.demo import DEMO_REVISION


def test_the_demo_model_of_today_has_a_known_baseline():
    baseline = find_known_baseline(DEMO_REVISION)

    assert baseline is not None
    assert set(baseline.values) == {"again", *(f"default-{number}" for number in range(1, len(TEXTS) + 1))}
    assert set(baseline.tolerance) == set(baseline.values)
    assert baseline.values["again"] < AGAIN_NATS


def test_the_values_belong_to_the_texts_of_today():
    assert hashlib.sha256("\n".join(TEXTS).encode()).hexdigest() == TEXTS_DIGEST


def test_another_revision_has_none():
    assert find_known_baseline("sha256:" + "0" * 64) is None
