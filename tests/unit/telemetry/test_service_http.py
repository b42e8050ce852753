from __future__ import annotations

import httpx2
import pytest

from stack.errors import ServiceApiError
from stack.telemetry.service_http import fetch_response, fetch_text


def client_for(handler) -> httpx2.Client:
    return httpx2.Client(transport=httpx2.MockTransport(handler))


def test_the_time_limit_of_the_call_is_used_and_told():
    def slow(request: httpx2.Request) -> httpx2.Response:
        assert request.extensions["timeout"]["read"] == 1.5
        raise httpx2.ReadTimeout("slow", request=request)

    with pytest.raises(ServiceApiError, match="engine at http://e/x: no answer within 1.5 s"):
        fetch_text(client_for(slow), "engine", "http://e/x", timeout_seconds=1.5)


def test_an_impossible_url_is_a_service_error():
    with pytest.raises(ServiceApiError, match="engine at http://e:port/"):
        fetch_text(client_for(lambda request: httpx2.Response(200)), "engine", "http://e:port/")


def test_an_error_page_is_shown_only_in_part():
    with pytest.raises(ServiceApiError) as caught:
        fetch_text(client_for(lambda request: httpx2.Response(500, text="x" * 5000)), "engine", "http://e/")
    assert len(caught.value.message) < 300


def test_the_clients_own_credentials_stay_unless_others_are_given():
    seen = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.headers["Authorization"])
        return httpx2.Response(200)

    client = httpx2.Client(transport=httpx2.MockTransport(answer), auth=("own", "own"))
    fetch_response(client, "engine", "http://e/")
    fetch_response(client, "engine", "http://e/", auth=httpx2.BasicAuth("other", "other"))
    assert seen[0] != seen[1]
