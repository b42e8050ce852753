"""The gateway's configuration in a real nginx, before a small upstream that records what reaches it."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from stack.containers.gateway import GatewaySettings, render_gateway_key, render_nginx_config

KEY = "sk-stack-0123456789ABCDEFGHIJKLMNOPqrstuv"
BEARER = {"Authorization": f"Bearer {KEY}"}
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
PATIENCE_SECONDS = 20


@pytest.fixture(scope="module", autouse=True)
def _nginx_is_here():
    if NGINX is None:
        how = "nginx is missing: apt-get install nginx-light"
        if "docker" in os.environ.get("STACK_REQUIRE", ""):
            pytest.fail(how)
        pytest.skip(how)


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
        process, port, health_port = start_nginx(directory, upstream_port, changes, prefix)
        processes.append(process)
        eventually(lambda: answers(port) or process.poll() is not None, "nginx listens")
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


def error_code(body: bytes) -> str:
    error = json.loads(body)["error"]
    assert error["message"]
    assert error["type"]
    return error["code"]


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/v1/models"),
        ("GET", "/v1/responses/resp_1?stream=true"),
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/completions"),
        ("POST", "/v1/embeddings"),
        ("POST", "/v1/responses"),
        ("POST", "/v1/messages"),
    ],
)
def test_an_allowed_route_with_the_key_reaches_the_engine_as_it_was_sent(gateway, method, target):
    status, _, body = gateway.ask(method, target, body=b"{}" if method == "POST" else None)
    assert status == 200
    assert json.loads(body)["path"] == target
    assert [(seen_method, path) for seen_method, path, _ in gateway.seen.requests] == [(method, target)]


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/metrics",
        "/tokenize",
        "/detokenize",
        "/invocations",
        "/docs",
        "/openapi.json",
        "/health",
        "/healthz",
        "/version",
        "/ping",
        "/sleep",
        "/collective_rpc",
        "/pooling",
        "/v1",
        "/v1/",
        "/v1/load_lora_adapter",
        "/v1/chat/completions/render",
        "//v1/models",
        "/v1//models",
        "/v1/models/",
        "/v1/models/../../metrics",
        "/v1/../metrics",
        "/metrics/../v1/models",
        "/v1/%2e%2e/metrics",
        "/v1/..%2fmetrics",
        "/v1/models/..%5c..%5cmetrics",
        "/%76%31/models",
        "/v1/models%00",
        "/v1/models%3f",
        "/V1/MODELS",
        "/v1/models;/../../metrics",
        "/v1/models#/../../metrics",
        "/-/key",
    ],
)
def test_any_other_route_and_every_path_trick_stops_at_the_gateway(gateway, target):
    request = f"GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nConnection: close\r\n\r\n"
    head, _, body = gateway.send_raw(request.encode()).partition(b"\r\n\r\n")
    assert int(head.split()[1]) in (400, 404)
    assert error_code(body) in ("unknown_url", "bad_request")
    assert gateway.seen.requests == []


def test_an_absolute_request_target_is_judged_by_its_path(gateway):
    headers = f"Host: x\r\nAuthorization: Bearer {KEY}\r\nConnection: close"
    for path, status in (("/v1/models", 200), ("/metrics", 404)):
        request = f"GET http://other{path} HTTP/1.1\r\n{headers}\r\n\r\n"
        assert int(gateway.send_raw(request.encode()).split()[1]) == status
    assert [path for _, path, _ in gateway.seen.requests] == ["/v1/models"]


@pytest.mark.parametrize(
    ("method", "target", "allowed"),
    [
        ("POST", "/v1/models", "GET"),
        ("GET", "/v1/chat/completions", "POST"),
        ("DELETE", "/v1/responses/resp_1", "GET"),
        ("OPTIONS", "/v1/chat/completions", "POST"),
        ("HEAD", "/v1/models", "GET"),
    ],
)
def test_a_method_that_the_route_does_not_take_stops_at_the_gateway(gateway, method, target, allowed):
    status, headers, _ = gateway.ask(method, target)
    assert status == 405
    assert headers["allow"] == allowed
    assert gateway.seen.requests == []


@pytest.mark.parametrize(
    "line", ["get /v1/models HTTP/1.1", "GET", "\x16\x03\x01", "GET /v1/models HTTP/9.9", "GET /v1/models"]
)
def test_a_request_line_that_cannot_be_read_or_has_no_headers_is_refused(gateway, line):
    answer = gateway.send_raw(f"{line}\r\nHost: x\r\n\r\n".encode())
    assert error_code(answer[answer.index(b"{") :]) in ("bad_request", "invalid_api_key")
    assert gateway.seen.requests == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": KEY},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": f"Bearer {KEY}x"},
        {"Authorization": f"Bearer {KEY[:-1]}"},
        {"Authorization": f"Bearer {KEY.lower()}"},
        {"Authorization": f"Bearer {KEY} {KEY}"},
        {"Authorization": f"Bearer {KEY}, Bearer x"},
        {"Authorization": "Bearer " + "a" * 7000},
        {"x-api-key": KEY},
    ],
)
def test_without_the_right_key_the_answer_is_401_in_the_form_of_the_api(gateway, headers):
    status, answered, body = gateway.ask("POST", "/v1/chat/completions", headers=headers, body=b"{}")
    assert status == 401
    assert error_code(body) == "invalid_api_key"
    assert answered["content-type"] == "application/json"
    assert answered["www-authenticate"] == "Bearer"
    assert gateway.seen.requests == []


def test_a_key_longer_than_a_header_may_be_is_a_bad_request(gateway):
    status, _, body = gateway.ask("GET", "/v1/models", headers={"Authorization": "Bearer " + "a" * 40_000})
    assert status == 400
    assert error_code(body) == "bad_request"
    assert gateway.seen.requests == []


def test_two_authorization_headers_do_not_help_a_wrong_key(gateway):
    request = (
        "GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        "Authorization: Bearer wrong\r\nAuthorization: Bearer wrong2\r\n\r\n"
    )
    assert int(gateway.send_raw(request.encode()).split()[1]) in (400, 401)
    assert gateway.seen.requests == []


def test_the_scheme_of_the_authorization_header_is_read_without_regard_to_case(gateway):
    assert gateway.ask("GET", "/v1/models", headers={"Authorization": f"bearer {KEY}"})[0] == 200


@pytest.mark.parametrize("target", ["/v1/messages", "/v1/messages/count_tokens?beta=true"])
def test_the_messages_api_takes_x_api_key_and_the_engine_gets_a_bearer_key(gateway, target):
    assert gateway.ask("POST", target, headers={"x-api-key": KEY}, body=b"{}")[0] == 200
    headers = gateway.seen.requests[0][2]
    assert headers["authorization"] == f"Bearer {KEY}"
    assert "x-api-key" not in headers


def test_a_wrong_x_api_key_is_refused(gateway):
    assert gateway.ask("POST", "/v1/messages", headers={"x-api-key": KEY[:-1]}, body=b"{}")[0] == 401


def test_the_engine_gets_the_gateways_own_request_id_and_no_cookie_or_forged_address(gateway):
    forged = {
        "X-Request-Id": "mine",
        "Cookie": "a=b",
        "X-Forwarded-For": "6.6.6.6",
        "Forwarded": "for=6.6.6.6",
    }
    _, answered, _ = gateway.ask("GET", "/v1/models", headers=BEARER | forged)
    headers = gateway.seen.requests[0][2]
    assert headers["x-request-id"] == answered["x-request-id"] != "mine"
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["host"] == "engine"
    assert not {"cookie", "forwarded"} & set(headers)


def test_an_error_of_the_engine_passes_unchanged(gateway):
    status, _, body = gateway.ask("POST", "/v1/completions?refuse", body=b"{}")
    assert status == 400
    assert json.loads(body)["error"]["message"] == "from the engine"


def test_the_version_of_nginx_is_not_told(gateway):
    assert gateway.ask("GET", "/nothing")[1]["server"] == "nginx"


def test_streamed_chunks_arrive_one_by_one(gateway):
    connection = gateway.connect()
    connection.request("POST", "/v1/chat/completions?stream", body=b"{}", headers=BEARER)
    for number in range(3):
        gateway.seen.next_chunk.release()
        if number == 0:
            answer = connection.getresponse()
        assert answer.readline() == f"data: {number}\n".encode()
        assert answer.readline() == b"\n"
    assert answer.read() == b""
    connection.close()


def test_a_large_body_reaches_the_engine_while_it_is_being_sent(gateway):
    half = b"x" * 10_000_000
    connection = gateway.connect()
    connection.putrequest("POST", "/v1/chat/completions")
    connection.putheader("Authorization", f"Bearer {KEY}")
    connection.putheader("Content-Length", str(2 * len(half)))
    connection.endheaders()
    connection.send(half)
    eventually(lambda: gateway.seen.body_bytes > 9_000_000, "the first half reaches the engine")
    connection.send(half)
    answer = connection.getresponse()
    assert json.loads(answer.read())["body_bytes"] == 2 * len(half)
    connection.close()


def test_a_chunked_body_passes(gateway):
    connection = gateway.connect()
    parts = iter([b"x" * 100_000] * 5)
    connection.request("POST", "/v1/completions", body=parts, headers=BEARER, encode_chunked=True)
    assert json.loads(connection.getresponse().read())["body_bytes"] == 500_000
    connection.close()


def test_a_client_that_hangs_up_is_noticed_by_the_engine(gateway):
    connection = gateway.connect()
    connection.request("POST", "/v1/chat/completions?hang", body=b"{}", headers=BEARER)
    eventually(lambda: gateway.seen.body_bytes == 2, "the whole request reaches the engine")
    connection.close()
    assert gateway.seen.hung_up.wait(PATIENCE_SECONDS)


def test_the_health_check_has_its_own_loopback_port(gateway):
    connection = http.client.HTTPConnection("127.0.0.1", gateway.health_port, timeout=PATIENCE_SECONDS)
    connection.request("GET", "/healthz")
    assert connection.getresponse().read() == b"ok\n"
    connection.close()


def test_the_access_log_holds_neither_query_nor_key_nor_body(gateway):
    gateway.ask("POST", "/v1/completions?token=hush", headers=BEARER | {"User-Agent": "hush"}, body=b"hush")
    gateway.ask("GET", "/v1/models?hush", headers={"Authorization": "Bearer hush"})
    gateway.ask("GET", "/log-me?hush")
    eventually(lambda: "/log-me" in gateway.log(), "the last request is logged")
    assert "hush" not in gateway.log()
    assert KEY not in gateway.log()
    # Requests of tests before this one may be logged as late as these.
    logged = {(line["path"], line["status"]) for line in map(json.loads, gateway.log().splitlines())}
    assert logged >= {("/v1/completions", 200), ("/v1/models", 401), ("/log-me", 404)}


def test_nothing_but_the_access_log_is_written_about_requests(gateway):
    gateway.ask("GET", "/v1/models", headers={"Authorization": "Bearer " + "a" * 40_000})
    assert (gateway.directory / "error.log").read_text() == ""


@pytest.fixture(scope="module")
def small(gateways) -> Gateway:
    return gateways(max_body="100k")


def test_a_body_over_the_limit_is_413_before_the_engine_sees_it(small):
    status, _, body = small.ask("POST", "/v1/completions", body=b"x" * 102_401)
    assert status == 413
    assert error_code(body) == "request_too_large"
    assert "100k" in json.loads(body)["error"]["message"]
    assert small.seen.requests == []


def test_a_body_at_the_limit_passes(small):
    assert small.ask("POST", "/v1/completions", body=b"x" * 102_400)[0] == 200


def test_a_chunked_body_over_the_limit_is_cut_with_413(small):
    connection = small.connect()
    parts = iter([b"x" * 50_000] * 4)
    connection.request("POST", "/v1/completions", body=parts, headers=BEARER, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()
    eventually(lambda: small.seen.body_bytes <= 102_400, "the engine got no more than the limit")


@pytest.mark.parametrize("headers", [BEARER, {"Authorization": "Bearer guess"}], ids=["key", "no key"])
def test_requests_beyond_rate_and_burst_are_429_with_and_without_the_key(gateways, headers):
    gateway = gateways(requests_per_second=1, burst=2)
    answers = [gateway.ask("GET", "/v1/models", headers=headers) for _ in range(12)]
    statuses = [status for status, _, _ in answers]
    expected = 200 if headers is BEARER else 401
    assert statuses[:3] == [expected] * 3
    assert set(statuses[3:]) <= {429, expected}
    refused = next(answer for answer in answers if answer[0] == 429)
    assert error_code(refused[2]) == "rate_limit_exceeded"
    assert refused[1]["retry-after"] == "1"


def test_open_requests_beyond_the_limit_are_429_until_one_ends(gateways):
    gateway = gateways(connections=2)
    held = [gateway.connect() for _ in range(2)]
    for connection in held:
        connection.request("POST", "/v1/completions?hold", body=b"{}", headers=BEARER)
    eventually(lambda: len(gateway.seen.requests) == 2, "two requests are at the engine")
    assert gateway.ask("GET", "/v1/models")[0] == 429
    gateway.seen.hold.set()
    assert [connection.getresponse().status for connection in held] == [200, 200]
    eventually(lambda: gateway.ask("GET", "/v1/models")[0] == 200, "the next request passes")
    for connection in held:
        connection.close()


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
