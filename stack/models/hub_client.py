"""A polite client of the hub: time limits, retries, no telemetry, nothing on the side."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from stack.errors import ModelError
from stack.models.hub_errors import (
    RETRIED_STATUSES,
    Asked,
    build_http_model_error,
    build_transport_model_error,
    parse_retry_after,
)
from stack.models.volume import Sleep
from stack.progress import ProgressEvent, Report

if TYPE_CHECKING:
    import httpx2
    from huggingface_hub import HfApi

Answer = TypeVar("Answer")

# Read by huggingface_hub when it is imported. Files are fetched by plain HTTP (see transfer.py), so Xet and
# its blobs shared between repositories, which leave links behind, are off; so is the token it finds itself.
_SETTINGS = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_DISABLE_SHARED_BLOBS": "1",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    # Its warnings would be written between our own lines.
    "HF_HUB_VERBOSITY": "error",
}
_RETRIES = 4
_TRANSPORT_RETRIES = 1
_LONGEST_WAIT_SECONDS = 60.0
_CONNECT_SECONDS = 10.0
# Also the longest that an interrupted download waits for a server that says nothing.
_READ_SECONDS = 15.0


@dataclass(frozen=True)
class HubClient:
    """What asking the hub needs.

    Attributes:
        asked: The endpoint, model and revision.
        token: Sent to the hub only, never to where it redirects; never shown.
        report: Told when we wait.
        task: The step's name.
        sleep: Waits.
    """

    asked: Asked
    token: str | None
    report: Report
    task: str
    sleep: Sleep = time.sleep

    def __repr__(self) -> str:
        return f"HubClient({self.asked!r})"

    def build_api(self) -> HfApi:
        """Give huggingface_hub's client for this endpoint."""
        hub = import_hub()
        return hub.HfApi(endpoint=self.asked.endpoint, token=self.token or False, library_name="stack")

    def build_headers(self) -> dict[str, str]:
        """Give the headers of a file's request."""
        import_hub()
        from huggingface_hub.utils import build_hf_headers  # noqa: PLC0415

        headers = build_hf_headers(token=self.token or False, library_name="stack")
        # Sizes and ranges are those of the file, not of its compressed form.
        return headers | {"accept-encoding": "identity"}

    def get_session(self) -> httpx2.Client:
        """Give the HTTP client, which all threads share."""
        return import_hub().get_session()

    def wait_to_retry(self, attempt: int, reason: str, retry_after_seconds: float | None) -> None:
        """Wait before the next attempt and say why."""
        seconds = min(2.0**attempt, 8.0) if retry_after_seconds is None else retry_after_seconds
        self.report(ProgressEvent(self.task, f"{reason}; trying again in {seconds:.0f} s"))
        self.sleep(seconds)

    def ask(self, question: Callable[[], Answer]) -> Answer:
        """Call huggingface_hub, again where that may help, its errors explained.

        Raises:
            ModelError: The hub refuses, or does not answer.
        """
        import_hub()
        import httpx2  # noqa: PLC0415
        from huggingface_hub.errors import HfHubHTTPError  # noqa: PLC0415

        attempt = 0
        while True:
            try:
                return question()
            except HfHubHTTPError as error:
                if not can_retry(error.response, attempt):
                    raise build_http_model_error(error, self.asked) from error
                reason = f"the hub answers with status {error.response.status_code}"
                self.wait_to_retry(attempt, reason, parse_retry_after(error.response))
            except httpx2.RequestError as error:
                if attempt >= _TRANSPORT_RETRIES or isinstance(error, httpx2.TooManyRedirects):
                    raise build_transport_model_error(error, self.asked) from error
                self.wait_to_retry(attempt, "the hub does not answer", None)
            except (httpx2.InvalidURL, ValueError, KeyError, TypeError) as error:
                raise ModelError(f"{self.asked.endpoint} does not answer as a model hub ({error!r})") from error
            attempt += 1


def can_retry(response: httpx2.Response, attempt: int) -> bool:
    """Tell whether asking again may help, and soon enough."""
    if response.status_code not in RETRIED_STATUSES or attempt >= _RETRIES:
        return False
    return (parse_retry_after(response) or 0.0) <= _LONGEST_WAIT_SECONDS


_imported = None


def import_hub():  # noqa: ANN201 (a module)
    """Import huggingface_hub with our settings; it takes a quarter of a second, so only when needed."""
    global _imported  # noqa: PLW0603 (an import is one for the process)
    if _imported is None:
        os.environ.update(_SETTINGS)
        import huggingface_hub  # noqa: PLC0415

        huggingface_hub.set_client_factory(_build_session)
        _imported = huggingface_hub
    return _imported


def _build_session() -> httpx2.Client:
    import httpx2  # noqa: PLC0415

    # huggingface_hub's own client has no time limit for reading metadata.
    timeout = httpx2.Timeout(_READ_SECONDS, connect=_CONNECT_SECONDS)
    return httpx2.Client(follow_redirects=True, timeout=timeout)
