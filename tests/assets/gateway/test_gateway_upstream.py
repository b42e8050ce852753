"""An engine that is away, comes later or is created anew; and how nginx itself runs."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.assets.gateway.rig import (
    BEARER,
    PATIENCE_SECONDS,
    Seen,
    Upstream,
    error_code,
    eventually,
    free_port,
    upstream_server,
)


@pytest.mark.parametrize(
    "changes",
    [{}, {"upstream": "engine.invalid:8000", "resolver": "127.0.0.1"}],
    ids=["refused", "no such name"],
)
def test_nginx_starts_without_the_engine_and_answers_502(gateways, changes):
    gateway = gateways(upstream_is_up=False, **changes)
    status, headers, body = gateway.ask("POST", "/v1/chat/completions?hush", body=b"{}")
    assert status == 502
    assert error_code(body) == "engine_unavailable"
    assert headers["retry-after"] == "5"
    assert "hush" not in (gateway.directory / "error.log").read_text()


def test_an_engine_that_comes_later_is_found_without_a_restart(gateways):
    port = free_port()
    gateway = gateways(upstream_is_up=False, upstream=f"127.0.0.1:{port}")
    assert gateway.ask("GET", "/v1/models")[0] == 502
    server = ThreadingHTTPServer(("127.0.0.1", port), type("Bound", (Upstream,), {"seen": gateway.seen}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        assert gateway.ask("GET", "/v1/models")[0] == 200
    finally:
        server.shutdown()
        server.server_close()


class NameServer(threading.Thread):
    """Answers every question for an address with the one it was last told, to be believed for an hour."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self.address = address
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))

    def run(self) -> None:
        while True:
            question, client = self.socket.recvfrom(512)
            if question == b"end":
                return self.socket.close()
            record = b"\xc0\x0c\0\1\0\1\0\0\x0e\x10\0\4" + socket.inet_aton(self.address)
            flags_and_counts = b"\x81\x80\0\1\0\1\0\0\0\0"
            self.socket.sendto(question[:2] + flags_and_counts + question[12:] + record, client)


def test_an_engine_that_was_created_anew_is_found_under_its_new_address(gateways):
    names = NameServer("127.0.0.2")
    port = names.socket.getsockname()[1]
    names.start()
    seen = Seen()
    server = upstream_server(seen)
    gateway = gateways(
        upstream_is_up=False, upstream=f"engine:{server.server_address[1]}", resolver=f"127.0.0.1:{port}"
    )
    try:
        assert gateway.ask("GET", "/v1/models")[0] == 502
        names.address = "127.0.0.1"
        everywhere = lambda: {gateway.ask("GET", "/v1/models")[0] for _ in range(20)} == {200}  # noqa: E731
        eventually(everywhere, "every worker uses the new address")
    finally:
        names.socket.sendto(b"end", ("127.0.0.1", port))
        names.join()
        server.shutdown()
        server.server_close()


def test_with_a_certificate_it_speaks_tls_and_refuses_plain_http(gateways, tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is missing: apt-get install openssl")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    gateway = gateways(certificate_file=str(certificate), certificate_key_file=str(key))
    context = ssl.create_default_context(cafile=str(certificate))
    connection = http.client.HTTPSConnection("127.0.0.1", gateway.port, timeout=PATIENCE_SECONDS, context=context)
    connection.request("GET", "/v1/models", headers=BEARER)
    assert connection.getresponse().status == 200
    connection.close()
    status, _, body = gateway.ask("GET", "/v1/models")
    assert status == 400
    assert error_code(body) == "bad_request"


@pytest.mark.root
def test_it_runs_as_nobody_without_a_capability_and_with_a_private_key_file(gateways):
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv (util-linux)")
    nobody = ("--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", "--bounding-set=-all")
    with tempfile.TemporaryDirectory() as directory:
        gateway = gateways(directory=Path(directory), prefix=("setpriv", *nobody))
        assert gateway.ask("GET", "/v1/models")[0] == 200
        assert gateway.ask("GET", "/v1/models", headers={})[0] == 401
