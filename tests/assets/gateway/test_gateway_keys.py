"""The key is demanded as the API says it, and what the engine gets of it."""

from __future__ import annotations

import pytest

from tests.assets.gateway.rig import (
    BEARER,
    KEY,
    error_code,
)


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
