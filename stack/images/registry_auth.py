"""How a registry's 401 becomes an `Authorization` header: a bearer token, or Basic where there is a login.

Source: distribution.github.io/distribution/spec/auth/token, RFC 7235.
"""

from __future__ import annotations

import base64
import json
import logging
import re
import warnings
from collections.abc import Callable, Mapping, Sequence

import httpx2

from stack.errors import ImageError
from stack.images.reference import ImageReference, is_loopback_host
from stack.images.registry_http import Answer

Credentials = Callable[[str], tuple[str, str] | None]
Send = Callable[[str, httpx2.URL, Mapping[str, str]], Answer]

log = logging.getLogger(__name__)

_PARAMETER = re.compile(r'([A-Za-z][A-Za-z0-9_-]*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


class TokenRefusedError(Exception):
    """The token service answered, but not with a token; never leaves the registry client."""

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__(f"HTTP {response.status_code}")
        self.response = response


class TokenDesk:
    """Fetches and keeps tokens, one for each repository.

    Args:
        send: Sends one request without following redirects.
        credentials: Gives user and password for a registry, or None.
    """

    def __init__(self, send: Send, credentials: Credentials | None = None) -> None:
        self._send = send
        self._credentials = credentials or (lambda registry: None)
        self._headers: dict[str, dict[str, str]] = {}

    def read_headers(self, reference: ImageReference) -> dict[str, str]:
        """Give what the last challenge for this repository led to; nothing before the first."""
        return self._headers.get(reference.name, {})

    def fetch_headers(self, reference: ImageReference, challenges: Sequence[str]) -> dict[str, str]:
        """Answer one of the challenges; gives nothing where none can be answered without a login.

        Raises:
            ImageError: The challenge sends us somewhere unsafe, or the token service talks nonsense.
            TokenRefusedError: The token service gives no token; its status says why.
            httpx2.HTTPError: The token service cannot be reached.
        """
        read = [parse_challenge(challenge) for challenge in challenges]
        scheme, parameters = next((pair for pair in read if pair[0] == "bearer"), read[0])
        login = self._credentials(reference.registry)
        basic = _basic(login) if login else {}
        if scheme == "bearer":
            headers = self._fetch_bearer(reference, parameters, basic)
        elif scheme == "basic":
            headers = basic
        else:
            headers = {}
        self._headers[reference.name] = headers
        return headers

    def _fetch_bearer(
        self, reference: ImageReference, parameters: Mapping[str, str], basic: Mapping[str, str]
    ) -> dict[str, str]:
        realm = _parse_realm(parameters.get("realm", ""), reference.registry)
        query = {"scope": parameters.get("scope", f"repository:{reference.repository}:pull")}
        if "service" in parameters:
            query["service"] = parameters["service"]
        response, body = self._send("GET", realm.copy_merge_params(query), basic)
        if not response.is_success:
            raise TokenRefusedError(response)
        try:
            answer = json.loads(body)
            token = answer.get("token") or answer["access_token"]
        except (ValueError, KeyError, AttributeError) as err:
            raise ImageError(f"{realm.host} answers with no token for `{reference}`") from err
        return {"Authorization": f"Bearer {token}"}


def read_docker_login(registry: str, config_path: str | None = None) -> tuple[str, str] | None:
    """Give the user and password that `docker login` stored for a registry, or None.

    Args:
        registry: The registry's host.
        config_path: Docker's config file, where it is not the usual one.
    """
    import docker.auth
    import docker.errors

    try:
        with warnings.catch_warnings():
            # The SDK warns of a credential helper that is not installed; there is simply no login then.
            warnings.simplefilter("ignore", UserWarning)
            login = docker.auth.load_config(config_path).resolve_authconfig(registry)
    except docker.errors.DockerException as err:  # a credential helper that is gone or locked
        log.debug("no login for %s: %s", registry, err)
        return None
    # The config file's entries and the credential helpers' answers differ in the case of their keys.
    found = {key.lower(): value for key, value in (login or {}).items()}
    user, password = found.get("username"), found.get("password")
    return (user, password) if user and password else None


def parse_challenge(header: str) -> tuple[str, dict[str, str]]:
    """Give the scheme (lower case) and the parameters of a `WWW-Authenticate` header."""
    scheme, _, rest = header.strip().partition(" ")
    parameters = {
        name.lower(): re.sub(r"\\(.)", r"\1", quoted) if quoted else plain
        for name, quoted, plain in _PARAMETER.findall(rest)
    }
    return scheme.lower(), parameters


def _parse_realm(text: str, registry: str) -> httpx2.URL:
    try:
        realm = httpx2.URL(text)
    except httpx2.InvalidURL as err:
        raise ImageError(f"{registry} names `{text}` as its token service, which is no URL") from err
    is_local = realm.scheme == "http" and is_loopback_host(realm.host) and is_loopback_host(registry)
    if not realm.host or realm.userinfo or not (realm.scheme == "https" or is_local):
        raise ImageError(
            f"{registry} names `{text}` as its token service, which is not safe: only https is followed",
        )
    return realm


def _basic(login: tuple[str, str]) -> dict[str, str]:
    text = base64.b64encode(":".join(login).encode()).decode()
    return {"Authorization": f"Basic {text}"}
