"""A health page, asked of a server of the test's own."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from stack.traffic.health import probe_health


@pytest.fixture
def serve():
    """A function: an HTTP status gives the port of a server that answers with it."""
    servers = []

    def start(status):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):  # noqa: N802
                self.send_response(status if self.path == "/health" else 404)
                self.end_headers()

            def log_message(self, *arguments):
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return server.server_port

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "is_answering", "said"),
    [(200, True, "/health: 200"), (503, False, "/health answers with HTTP 503"), (302, False, "answers with HTTP 302")],
)
def test_only_a_good_answer_is_one(serve, status, is_answering, said):
    probe = probe_health(serve(status), "/health", timeout_seconds=5)
    assert probe.is_answering is is_answering
    assert said in probe.said


def test_a_port_that_nobody_listens_on_says_so():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        probe = probe_health(port, "/health", timeout_seconds=5)
    assert (probe.is_answering, probe.said) == (False, "/health: connection refused")


def test_a_server_that_takes_a_connection_and_says_nothing_is_told_apart():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        probe = probe_health(listener.getsockname()[1], "/health", timeout_seconds=0.1)
    assert (probe.is_answering, probe.said) == (False, "/health gave no answer within 0.1 s")


def test_what_is_not_http_is_no_answer():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def babble():
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"SSH-2.0-x\r\n")

        thread = threading.Thread(target=babble)
        thread.start()
        probe = probe_health(listener.getsockname()[1], "/health", timeout_seconds=5)
        thread.join()
    assert not probe.is_answering
    assert probe.said.startswith("/health: ")
