"""The stub engine in this process, for any room."""

from __future__ import annotations

import pytest

from tests.fixtures.stub_engine import FakeEngine, load_stub


@pytest.fixture(scope="session")
def stub():
    return load_stub()


@pytest.fixture
def start_engine(stub):
    started = []

    def start(*argv):
        started.append(FakeEngine(stub, *argv))
        return started[-1]

    yield start
    for engine in started:
        engine.close()
