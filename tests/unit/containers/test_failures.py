"""Each known failure, by the words in which a daemon, a CLI or the SDK told it (recorded/failures.toml)."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from stack.containers.failures import _KNOWN, explain

ANSWERS = tomllib.loads((Path(__file__).parent / "recorded" / "failures.toml").read_text())["answer"]


@pytest.mark.parametrize("answer", ANSWERS, ids=[answer["said"][:70] for answer in ANSWERS])
def test_what_was_said_is_explained(answer):
    found = explain(answer["said"])
    assert found is not None
    assert found.cause == answer["cause"]


def test_every_pattern_has_a_recorded_answer():
    assert {explanation for _, explanation in _KNOWN} == {explain(answer["said"]) for answer in ANSWERS}


def test_every_explanation_says_what_to_do_next():
    for _, explanation in _KNOWN:
        assert explanation.hint
        assert not explanation.cause.endswith(".")


@pytest.mark.parametrize(
    "said",
    [
        "",
        'exec: "nosuchprogram": executable file not found in $PATH: unknown',
        "validating /x/compose.yaml: services.engine additional properties 'nosuchkey' not allowed",
        "dial tcp 10.0.0.1:443: connect: connection refused",
        "open /home/ana/x: permission denied",
    ],
)
def test_what_is_not_known_is_not_guessed(said):
    assert explain(said) is None
