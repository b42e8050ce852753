"""Whether the hub answers, and with which token we speak to it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from stack.errors import ModelError

DEFAULT_ENDPOINT = "https://huggingface.co"
_TRUE = frozenset({"1", "on", "yes", "true"})


def load_token(token_file: Path | None, environ: Mapping[str, str]) -> str | None:
    """Read the hub token: the given file, else `HF_TOKEN`, else where `hf auth login` keeps it, else None.

    Raises:
        ModelError: The given file cannot be read or is empty.

    Source: the order and places are those of huggingface_hub 2.4.0 (`HF_TOKEN_PATH`, `HF_HOME`,
    `XDG_CACHE_HOME`).
    """
    if token_file is not None:
        return _load_given(token_file)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if token := environ.get(name, "").strip():
            return token
    try:
        return _standard_token_path(environ).read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def is_offline(environ: Mapping[str, str]) -> bool:
    """Tell whether the environment forbids asking the hub (`HF_HUB_OFFLINE`, `TRANSFORMERS_OFFLINE`)."""
    return any(environ.get(name, "").lower() in _TRUE for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))


class HubAnswer(NamedTuple):
    """Whether a hub answers, the reason in words, and the `Date` header of its answer."""

    is_reachable: bool
    reason: str
    date: str = ""


def is_hub_reachable(
    endpoint: str, timeout_seconds: float, *, environ: Mapping[str, str] | None = None
) -> tuple[bool, str]:
    """Ask whether a hub answers at `endpoint`, and give the reason in words."""
    answer = ask_hub(endpoint, timeout_seconds, environ=environ)
    return answer.is_reachable, answer.reason


def ask_hub(endpoint: str, timeout_seconds: float, *, environ: Mapping[str, str] | None = None) -> HubAnswer:
    """Ask a hub for as much as shows that it is one.

    The answer comes within the time given, also where name resolution hangs: it is asked from a thread that
    is left behind. A proxy's block page is no hub: only JSON counts.
    """
    if environ is not None and is_offline(environ):
        return HubAnswer(False, "HF_HUB_OFFLINE is set")
    host = urlsplit(endpoint).netloc or endpoint
    answers: list[HubAnswer] = []
    asking = threading.Thread(
        target=lambda: answers.append(_ask(endpoint, host, timeout_seconds)), daemon=True, name="ask-hub"
    )
    asking.start()
    asking.join(timeout_seconds)
    return answers[0] if answers else HubAnswer(False, f"{host} did not answer within {timeout_seconds:g} s")


def _ask(endpoint: str, host: str, timeout_seconds: float) -> HubAnswer:
    import httpx2  # noqa: PLC0415 (slow to import)

    url = f"{endpoint.rstrip('/')}/api/models"
    try:
        response = httpx2.get(url, params={"limit": 1}, timeout=timeout_seconds, follow_redirects=True)
    except httpx2.TimeoutException:
        return HubAnswer(False, f"{host} did not answer within {timeout_seconds:g} s")
    except (httpx2.TransportError, httpx2.TooManyRedirects) as error:
        return HubAnswer(False, f"{host} cannot be reached ({error})")
    except (httpx2.InvalidURL, ValueError) as error:
        return HubAnswer(False, f"`{endpoint}` is not an address ({error})")
    if response.status_code >= 500:
        return HubAnswer(False, f"{host} answers with status {response.status_code}")
    if "json" not in response.headers.get("content-type", ""):
        return HubAnswer(False, f"what answers at {host} is not a model hub (status {response.status_code})")
    return HubAnswer(True, f"{host} answers", response.headers.get("date", ""))


def _load_given(path: Path) -> str:
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"cannot read `model.token-file` {path}: {error}") from error
    if not token or any(character.isspace() for character in token):
        raise ModelError(f"`model.token-file` {path} does not hold one token")
    return token


def _standard_token_path(environ: Mapping[str, str]) -> Path:
    if path := environ.get("HF_TOKEN_PATH"):
        return Path(path)
    if home := environ.get("HF_HOME"):
        return Path(home) / "token"
    cache = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME", "/")) / ".cache")
    return Path(cache) / "huggingface" / "token"
