"""What the hub refuses, explained: the only place where huggingface_hub's exceptions are matched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stack.errors import ModelError

if TYPE_CHECKING:
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

RETRIED_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
_TOKEN_HINT = "put a token in HF_TOKEN or in the file that `model.token-file` names, or run `hf auth login`"


@dataclass(frozen=True)
class Asked:
    """What was asked of the hub, for the words of an error."""

    endpoint: str
    id: str
    revision: str
    has_token: bool

    @property
    def page(self) -> str:
        """Give the model's page."""
        return f"{self.endpoint}/{self.id}"


def build_http_model_error(error: HfHubHTTPError, asked: Asked) -> ModelError:
    """Explain an answer of the hub that is an error.

    Source: the headers `X-Error-Code` and `X-Error-Message` as huggingface_hub 2.4.0 reads them
    (`utils/_http.py`, `hf_raise_for_status`): a missing model and a private one look the same.
    """
    from huggingface_hub import errors  # noqa: PLC0415 (slow to import)

    status = error.response.status_code
    if isinstance(error, errors.GatedRepoError):
        return _explain_gated(asked)
    if isinstance(error, errors.RevisionNotFoundError):
        return ModelError(
            f"`{asked.id}` has no revision `{asked.revision}`",
            hint=f"see {asked.page}/commits/main for its revisions",
        )
    if _is_wrong_token(error):
        return ModelError(
            f"{asked.endpoint} does not accept the token",
            hint=f"make a new one at {asked.endpoint}/settings/tokens",
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return _explain_missing(asked)
    if isinstance(error, errors.EntryNotFoundError):
        return ModelError(f"a file of `{asked.id}` at `{asked.revision}` is missing on the hub", detail=str(error))
    if status == 429:
        return _explain_limited(error, asked)
    if status >= 500:
        return ModelError(f"{asked.endpoint} answers with status {status}", hint="try again in some minutes")
    if status in (401, 403):
        return ModelError(
            f"{asked.endpoint} does not let this token read `{asked.id}` (status {status})"
            if asked.has_token
            else f"{asked.endpoint} does not give `{asked.id}` without a token (status {status})",
            hint=_TOKEN_HINT,
        )
    return ModelError(f"{asked.endpoint} answers with status {status} when asked for `{asked.id}`")


def build_transport_model_error(error: httpx2.RequestError, asked: Asked) -> ModelError:
    """Explain that the hub could not be spoken to."""
    import httpx2  # noqa: PLC0415 (slow to import)

    if isinstance(error, httpx2.TooManyRedirects):
        return ModelError(
            f"{asked.endpoint} redirects in circles",
            hint="check `model.endpoint`: a proxy or mirror may be set up wrong",
        )
    said = "does not answer in time" if isinstance(error, httpx2.TimeoutException) else "cannot be reached"
    return ModelError(
        f"{asked.endpoint} {said} ({error or type(error).__name__})",
        hint='check the network and `model.endpoint`, or use a local directory or `model.id = "demo"`',
    )


def parse_retry_after(response: httpx2.Response) -> float | None:
    """Give the seconds that the hub asks us to wait, or None (dates are not read)."""
    text = response.headers.get("retry-after", "").strip()
    return float(text) if text.isdigit() else None


def _is_wrong_token(error: HfHubHTTPError) -> bool:
    if error.response.status_code != 401:
        return False
    said = error.response.headers.get("x-error-message", "")
    return "invalid" in said.lower() and ("credentials" in said.lower() or "token" in said.lower())


def _explain_gated(asked: Asked) -> ModelError:
    if asked.has_token:
        return ModelError(
            f"`{asked.id}` is gated and this token has no access to it",
            hint=f"ask for access at {asked.page} with the account that the token belongs to",
        )
    return ModelError(
        f"`{asked.id}` is gated: it is given only to accounts that accepted its terms",
        hint=f"accept them at {asked.page}, then {_TOKEN_HINT}",
    )


def _explain_missing(asked: Asked) -> ModelError:
    if asked.has_token:
        return ModelError(
            f"`{asked.id}` is not on {asked.endpoint}, or is private and this token has no access to it",
            hint=f"check the spelling at {asked.page}",
        )
    return ModelError(
        f"`{asked.id}` is not on {asked.endpoint}, or is private",
        hint=f"check the spelling at {asked.page}; if it is private, {_TOKEN_HINT}",
    )


def _explain_limited(error: HfHubHTTPError, asked: Asked) -> ModelError:
    wait_seconds = parse_retry_after(error.response)
    when = f"in {wait_seconds:.0f} s" if wait_seconds else "in some minutes"
    more = "" if asked.has_token else "; with a token the limit is higher (HF_TOKEN)"
    return ModelError(f"{asked.endpoint} limits how often we may ask (status 429)", hint=f"try again {when}{more}")
