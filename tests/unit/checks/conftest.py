"""The stub engine in this process, and the smoke test's view of it."""

from __future__ import annotations

import importlib.util
import threading
from pathlib import Path

import pytest

from stack.checks.smoke.target import IdentityFacts, ModelFacts, ServiceFacts, SmokeConfig, SmokeTarget
from stack.traffic.engine_client import EngineClient, build_http_client

_STUB = Path(__file__).parents[2] / "fixtures" / "fake_engine" / "__main__.py"


def load_stub():
    spec = importlib.util.spec_from_file_location("fake_engine_stub", _STUB)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class FakeEngine:
    """A running stub: `url`, its `state`, and `misbehave(...)`."""

    def __init__(self, stub, *argv):
        arguments = stub.parse_arguments(["--port", "0", "--step-seconds", "0.002", *argv])
        self.server = stub.build_server(arguments)
        self.state = self.server.state
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.state.die = self.die
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def misbehave(self, *modes):
        self.state.modes = set(modes)

    def die(self):
        """Stop answering, as a process that is gone."""
        self.state.is_closed = True
        threading.Thread(target=self.close, daemon=True).start()

    def close(self):
        self.state.is_closed = True
        self.state.modes = set()
        self.server.shutdown()
        self.server.server_close()


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


@pytest.fixture
def http():
    with build_http_client(timeout_seconds=10.0) as client:
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
            "config": SmokeConfig(),
        }
        return SmokeTarget(**{**given, **changes})

    return build
