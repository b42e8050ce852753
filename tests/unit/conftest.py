"""The stub engine in this process, for any room."""

from __future__ import annotations

import pytest

from tests.fixtures.stub_engine import FakeEngine


@pytest.fixture
def start_engine():
    started = []

    def start(*argv):
        started.append(FakeEngine(*argv))
        return started[-1]

    yield start
    for engine in started:
        engine.close()
