"""The limits of size, rate and open requests."""

from __future__ import annotations

import json

import pytest

from tests.assets.gateway.rig import (
    BEARER,
    Gateway,
    error_code,
    eventually,
)


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
