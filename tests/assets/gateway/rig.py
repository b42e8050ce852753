"""A real nginx with the gateway's configuration, before a small upstream that records what reaches it."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from stack.containers.gateway import GatewaySettings, render_gateway_key, render_nginx_config

KEY = "sk-stack-0123456789ABCDEFGHIJKLMNOPqrstuv"
BEARER = {"Authorization": f"Bearer {KEY}"}
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
PATIENCE_SECONDS = 60


def eventually(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS} s: {what}"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Seen:
    """What the upstream saw, and the reins of what it does."""

    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    body_bytes: int = 0
    next_chunk: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    hung_up: threading.Event = field(default_factory=threading.Event)
    hold: threading.Event = field(default_factory=threading.Event)


class Upstream(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: Seen

    def log_message(self, *_: object) -> None:
        pass

    def _note(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.seen.requests.append((self.command, self.path, headers))

    def _answer(self, status: int = 200, **more: object) -> None:
        body = json.dumps({"path": self.path, **more}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:  # noqa: N802
        self._note()
        self._answer()

    def do_POST(self) -> None:  # noqa: N802
        self._note()
        self._read_body()
        if self.path.endswith("?stream"):
            self._stream()
        elif self.path.endswith("?hang"):
            self._hang()
        elif self.path.endswith("?hold"):
            self.seen.hold.wait(PATIENCE_SECONDS)
            self._answer()
        elif self.path.endswith("?refuse"):
            self._answer(400, error={"message": "from the engine"})
        else:
            self._answer(body_bytes=self.seen.body_bytes)

    def _read_body(self) -> None:
        self.seen.body_bytes = 0
        chunked = self.headers.get("Transfer-Encoding") == "chunked"
        rest = None if chunked else int(self.headers.get("Content-Length", 0))
        while rest is None or rest:
            size = int(self.rfile.readline() or b"0", 16) if chunked else min(rest, 65536)
            data = self.rfile.read(size)
            self.seen.body_bytes += len(data)
            if chunked:
                self.rfile.readline()
                if not size:
                    return
            elif not data:
                return
            else:
                rest -= len(data)

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(3):
            if not self.seen.next_chunk.acquire(timeout=PATIENCE_SECONDS):
                return
            event = f"data: {number}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
        self.wfile.write(b"0\r\n\r\n")

    def _hang(self) -> None:
        self.connection.settimeout(PATIENCE_SECONDS)
        try:
            if self.connection.recv(1) == b"":
                self.seen.hung_up.set()
        except OSError:
            pass
        self.close_connection = True


@dataclass
class Gateway:
    """A running nginx and what stands behind it."""

    port: int
    health_port: int
    seen: Seen
    directory: Path

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)

    def ask(
        self, method: str, target: str, headers: dict[str, str] = BEARER, body: bytes | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        connection = self.connect()
        try:
            connection.request(method, target, body=body, headers=headers)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def send_raw(self, data: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_SECONDS) as connection:
            connection.sendall(data)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def log(self) -> str:
        return (self.directory / "access.log").read_text()


def upstream_server(seen: Seen) -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Upstream,), {"seen": seen}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def start_nginx(
    directory: Path, upstream_port: int, changes: dict[str, object], prefix: tuple[str, ...] = ()
) -> tuple[subprocess.Popen[bytes], int, int]:
    port, health_port = free_port(), free_port()
    settings = GatewaySettings(
        requests_per_second=1000,
        burst=1000,
        listen=f"127.0.0.1:{port}",
        health_listen=f"127.0.0.1:{health_port}",
        upstream=f"127.0.0.1:{upstream_port}",
        key_file=str(directory / "key"),
        temp_dir=str(directory),
        access_log=str(directory / "access.log"),
        error_log=str(directory / "error.log"),
    )
    config = directory / "nginx.conf"
    config.write_text(render_nginx_config(replace(settings, **changes)))
    (directory / "key").write_text(render_gateway_key(KEY))
    (directory / "key").chmod(0o600)
    (directory / "stderr").touch()
    if prefix:
        for path in (directory, *directory.iterdir()):
            os.chown(path, 65534, 65534)
    log = (directory / "stderr").open("wb")
    argv = [*prefix, NGINX, "-e", "/dev/stderr", "-c", str(config)]
    with log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
    return process, port, health_port


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def is_listening(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until nginx listens, or has ended without."""
    eventually(lambda: answers(port) or process.poll() is not None, "nginx listens")
    return process.poll() is None


def error_code(body: bytes) -> str:
    error = json.loads(body)["error"]
    assert error["message"]
    assert error["type"]
    return error["code"]
