"""The stub engine in this process, and the smoke test's view of it."""

from __future__ import annotations

import pytest

from stack.checks.smoke.target import IdentityFacts, ModelFacts, ServiceFacts, SmokeConfig, SmokeTarget
from stack.traffic.engine_client import EngineClient
from stack.traffic.engine_http import build_http_client


@pytest.fixture
def http():
    with build_http_client(timeout_seconds=60.0) as client:
        yield client


@pytest.fixture
def build_target(http):
    def build(engine, *, api_key=None, http_client=http, **changes):
        client = EngineClient(http_client, engine.url, model="fake", api_key=api_key)
        given = {
            "engine": client,
            "served_name": "fake",
            "model": ModelFacts("stub/model", "a" * 40, vocab_size=49152),
            "services": (ServiceFacts("engine", "running", "healthy"),),
            "identity": IdentityFacts(expected_version="0.32.0", accepted_level="unknown"),
            "api_key": api_key,
            # Time for a machine that has much else to do; what is waited for in vain has limits of its own.
            "config": SmokeConfig(timeout_seconds=600.0),
        }
        return SmokeTarget(**{**given, **changes})

    return build
