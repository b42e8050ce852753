"""HTTP towards the engine: the client's settings, and failures turned into errors that say what to do."""

from __future__ import annotations

from dataclasses import dataclass

import httpx2

from stack.errors import ServiceApiError
from stack.traffic.engine_wire import parse_error_message


class EngineApiError(ServiceApiError):
    """The engine answered with an error status, with something unreadable, or not at all.

    Args:
        url: What was asked.
        message: What came back.
        status_code: The HTTP status, or None where no answer came.
        hint: What to do next.
    """

    def __init__(self, url: str, message: str, *, status_code: int | None = None, hint: str | None = None):
        self.status_code = status_code
        super().__init__("engine", url, message, hint=hint)


@dataclass(frozen=True)
class RawAnswer:
    """An HTTP answer of whatever status, unread."""

    status_code: int
    text: str

    @property
    def message(self) -> str:
        """The message inside an error answer."""
        return parse_error_message(self.text)


def build_http_client(timeout_seconds: float = 60.0, connections: int = 128) -> httpx2.Client:
    """Build an HTTP client fit for the engine: no proxy taken from the environment, as it is on loopback."""
    limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
    timeout = httpx2.Timeout(timeout_seconds, connect=min(5.0, timeout_seconds))
    return httpx2.Client(trust_env=False, timeout=timeout, limits=limits)


def demand_success(base_url: str, path: str, answer: RawAnswer) -> None:
    """Raise for an error status.

    Raises:
        EngineApiError: The status is 400 or above.
    """
    if answer.status_code < 400:
        return
    hints = {
        401: "give the API key (`stack status --show-secrets` prints it)",
        404: f"`curl {base_url}/v1/models` lists the models that are served",
    }
    raise EngineApiError(
        base_url + path,
        f"HTTP {answer.status_code}: {answer.message or 'no message'}",
        status_code=answer.status_code,
        hint=hints.get(answer.status_code, "`stack logs engine` tells more"),
    )


def describe_failure(url: str, err: httpx2.HTTPError) -> EngineApiError:
    """Say in words why no answer came."""
    if isinstance(err, httpx2.TimeoutException):
        return EngineApiError(url, f"no answer in time ({type(err).__name__})", hint="`stack logs engine`")
    if isinstance(err, httpx2.ConnectError):
        return EngineApiError(url, "nothing listens there", hint="`stack status` tells which services run")
    return EngineApiError(url, f"the connection broke ({type(err).__name__})", hint="`stack logs engine`")
