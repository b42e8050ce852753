"""Ask a service over HTTP, so that every way to fail ends as a ServiceApiError that names service and URL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import httpx2

from stack.errors import ServiceApiError

_BODY_SHOWN_CHARS = 200
_Read = TypeVar("_Read")


def fetch_response(
    client: httpx2.Client,
    service: str,
    url: str,
    *,
    method: str = "GET",
    params: Mapping[str, str] | None = None,
    form: Mapping[str, str] | None = None,
    body: Mapping[str, Any] | None = None,
    auth: httpx2.BasicAuth | None = None,
    timeout_seconds: float = 5.0,
) -> httpx2.Response:
    """Give whatever the service answers, error statuses included.

    Args:
        client: The HTTP client; never follows a redirect for us unless it was made so.
        service: The Compose service, for the error.
        url: What to ask; must hold no secret, because errors show it.
        method: The HTTP method.
        params: Query parameters.
        form: A form to send as the body.
        body: A JSON document to send as the body.
        auth: Credentials.
        timeout_seconds: For connecting and for each read.

    Raises:
        ServiceApiError: There was no answer.
    """
    try:
        return client.request(
            method,
            url,
            params=dict(params) if params else None,
            data=dict(form) if form else None,
            json=dict(body) if body is not None else None,
            auth=auth if auth is not None else httpx2.USE_CLIENT_DEFAULT,
            timeout=timeout_seconds,
        )
    except httpx2.TimeoutException as err:
        raise ServiceApiError(service, url, f"no answer within {timeout_seconds:g} s") from err
    except (httpx2.HTTPError, httpx2.InvalidURL) as err:
        raise ServiceApiError(service, url, str(err) or type(err).__name__) from err


def fetch_text(client: httpx2.Client, service: str, url: str, *, timeout_seconds: float = 5.0) -> str:
    """Give the body of a page.

    Raises:
        ServiceApiError: There was no answer, or one with an error status.
    """
    response = fetch_response(client, service, url, timeout_seconds=timeout_seconds)
    check_status(response, service, url)
    return response.text


def check_status(response: httpx2.Response, service: str, url: str) -> None:
    """Let a 2xx answer pass.

    Raises:
        ServiceApiError: Any other status, with the beginning of what the service said.
    """
    if not response.is_success:
        said = " ".join(response.text.split())[:_BODY_SHOWN_CHARS]
        raise ServiceApiError(service, url, f"HTTP {response.status_code}" + (f" ({said})" if said else ""))


def parse_json(response: httpx2.Response, service: str, url: str) -> Any:
    """Give the JSON document in an answer.

    Raises:
        ServiceApiError: The body is not JSON.
    """
    try:
        return response.json()
    except ValueError as err:
        raise ServiceApiError(service, url, f"HTTP {response.status_code} without JSON") from err


def read_answer(answer: Any, read: Callable[[Any], _Read], service: str, url: str) -> _Read:
    """Give what `read` makes of an answer.

    Raises:
        ServiceApiError: The answer lacks what `read` looks for: another service, or another version of it.
    """
    try:
        return read(answer)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as err:
        raise ServiceApiError(service, url, f"an answer of an unknown shape ({type(err).__name__}: {err})") from err
