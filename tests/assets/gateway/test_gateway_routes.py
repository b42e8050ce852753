"""What passes the gateway, what stops at it, and what the engine and the log are told of it."""

from __future__ import annotations

import http.client
import json

import pytest

from tests.assets.gateway.rig import (
    BEARER,
    KEY,
    PATIENCE_SECONDS,
    error_code,
    eventually,
)


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
