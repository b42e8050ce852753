"""Gateways that end with their module."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.assets.gateway.rig import (
    NGINX,
    PATIENCE_SECONDS,
    Gateway,
    Seen,
    free_port,
    is_listening,
    start_nginx,
    upstream_server,
)


@pytest.fixture(scope="module", autouse=True)
def _nginx_is_here():
    if NGINX is None:
        how = "nginx is missing: apt-get install nginx-light"
        if "docker" in os.environ.get("STACK_REQUIRE", ""):
            pytest.fail(how)
        pytest.skip(how)


@pytest.fixture(scope="module")
def gateways(tmp_path_factory) -> Iterator[Callable[..., Gateway]]:
    """Start gateways with changed settings; all of them end with the module."""
    processes, servers = [], []

    def start(
        *,
        upstream_is_up: bool = True,
        directory: Path | None = None,
        prefix: tuple[str, ...] = (),
        **changes: object,
    ) -> Gateway:
        seen = Seen()
        directory = directory or tmp_path_factory.mktemp("gateway")
        upstream_port = free_port()
        if upstream_is_up:
            servers.append(upstream_server(seen))
            upstream_port = servers[-1].server_address[1]
        # A port that was free may have become somebody else's.
        for _ in range(3):
            process, port, health_port = start_nginx(directory, upstream_port, changes, prefix)
            processes.append(process)
            if is_listening(process, port):
                break
        assert process.poll() is None, (directory / "stderr").read_text()
        return Gateway(port, health_port, seen, directory)

    yield start
    for process in processes:
        process.terminate()
        process.wait(PATIENCE_SECONDS)
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def shared(gateways) -> Gateway:
    return gateways()


@pytest.fixture
def gateway(shared) -> Gateway:
    shared.seen.requests.clear()
    shared.seen.body_bytes = 0
    return shared
