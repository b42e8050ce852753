"""The OCI distribution protocol, reading only: digests, manifests and image configs.

Source: the OCI distribution specification; the bearer token flow as Docker's registry documents it
(distribution.github.io/distribution/spec/auth/token); both checked against Debian's `docker-registry` 2.8.2.
"""

from __future__ import annotations

import email.utils
import logging
import time
from collections.abc import Callable

import httpx2

from stack.errors import ImageError
from stack.images.manifests import (
    ACCEPT,
    ImageConfig,
    Manifest,
    RemoteImage,
    compute_digest,
    parse_config,
    parse_layers,
    parse_manifest,
    select_platform,
)
from stack.images.reference import DOCKER_HUB, ImageReference, is_digest, is_loopback_host
from stack.images.registry_auth import Credentials, TokenDesk, TokenRefusedError
from stack.images.registry_errors import (
    build_status_error,
    build_transport_error,
    describe_transport_error,
    is_worth_retrying,
)
from stack.images.registry_http import Answer, BoundedSender
from stack.images.source import Reachability, probe_registries

log = logging.getLogger(__name__)

_DOCKER_HUB_API = "registry-1.docker.io"
_RETRY_STATUSES = frozenset({429, 500, 502, 503, 504})
_LONGEST_PAUSE_SECONDS = 30.0


class Registry:
    """Reads what registries say about images.

    Args:
        client: Its `verify` holds the CA bundle; redirects are followed here, not by it.
        timeout_seconds: Time limit of one request, body included.
        retries: How often a refused or lost request is sent again.
        credentials: Gives user and password for a registry, or None.
        sleep: Waits for seconds.
        clock: Seconds that only grow.
        now: Seconds since the epoch, for a `Retry-After` that is a date.
    """

    def __init__(
        self,
        client: httpx2.Client,
        *,
        timeout_seconds: float = 5.0,
        retries: int = 4,
        credentials: Credentials | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._http = BoundedSender(client, timeout_seconds, clock)
        self._tokens = TokenDesk(self._http.send, credentials)
        self._retries = retries
        self._sleep = sleep
        self._now = now

    def fetch_digest(self, reference: ImageReference) -> str:
        """Give the digest that a reference points at, of the index where there is one; moves no body.

        Raises:
            ImageError: The registry does not give it, or gives another digest than it was asked for.
        """
        response, _ = self._send("HEAD", reference, _manifest_path(reference))
        digest = response.headers.get("docker-content-digest", "")
        if not is_digest(digest):
            # The header is optional in the specification; the body always tells.
            return self.fetch_manifest(reference).digest
        _check_same(reference, reference.digest, digest)
        return digest

    def fetch_manifest(self, reference: ImageReference) -> Manifest:
        """Give what a reference points at, its bytes checked against every digest known of it.

        Raises:
            ImageError: It cannot be had, or its bytes are not those of the digest asked for or promised.
        """
        response, body = self._send("GET", reference, _manifest_path(reference))
        manifest = parse_manifest(body, response.headers.get("content-type", ""))
        _check_same(reference, reference.digest, manifest.digest)
        promised = response.headers.get("docker-content-digest", "")
        _check_same(reference, promised if is_digest(promised) else None, manifest.digest)
        return manifest

    def fetch_image(self, reference: ImageReference, *, platform: str = "linux/amd64") -> RemoteImage:
        """Describe an image without pulling it: digests, size, labels and environment.

        Args:
            reference: A tag or a digest.
            platform: This machine's, as `os/architecture`.

        Raises:
            ImageError: It cannot be had, is not made for the platform, or does not match its digests.
        """
        found = self.fetch_manifest(reference)
        manifest = found
        if found.is_index:
            manifest = self.fetch_manifest(reference.with_digest(select_platform(found, platform)))
        image_id, layers = parse_layers(manifest)
        config = self._fetch_config(reference, image_id)
        return RemoteImage(found.digest, manifest.digest, image_id, config, layers)

    def open_blob(self, reference: ImageReference, digest: str, *, offset: int = 0) -> httpx2.Response:
        """Begin to read a blob of a reference's repository; the caller judges, reads and closes the answer.

        A registry may give all of it where only what follows `offset` bytes was asked for (status 200).

        Raises:
            ImageError: The registry leads somewhere unsafe.
            httpx2.HTTPError: There is no answer.
        """
        url = httpx2.URL(f"{_api_base(reference.registry)}/v2/{reference.repository}/blobs/{digest}")
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
        response = self._http.open_redirected("GET", url, headers | self._tokens.read_headers(reference))
        challenges = response.headers.get_list("www-authenticate")
        if response.status_code != 401 or not challenges:
            return response
        response.close()
        try:
            fresh = self._tokens.fetch_headers(reference, challenges)
        except TokenRefusedError as refusal:
            return refusal.response
        return self._http.open_redirected("GET", url, headers | fresh) if fresh else response

    def read_pause(self, response: httpx2.Response, attempt: int) -> float | None:
        """Give after how many seconds a refused request is worth sending again; None where it is not."""
        if response.status_code not in _RETRY_STATUSES:
            return None
        text = response.headers.get("retry-after", "").strip()
        date = email.utils.parsedate_tz(text) if text else None
        pause = _pause(attempt)
        if text.isdecimal():
            pause = float(text)
        elif date is not None:
            pause = max(0.0, email.utils.mktime_tz(date) - self._now())
        return pause if pause <= _LONGEST_PAUSE_SECONDS else None

    def _fetch_config(self, reference: ImageReference, digest: str) -> ImageConfig:
        _, body = self._send("GET", reference, f"blobs/{digest}")
        _check_same(reference, digest, compute_digest(body))
        return parse_config(body)

    def _send(self, method: str, reference: ImageReference, path: str) -> Answer:
        url = httpx2.URL(f"{_api_base(reference.registry)}/v2/{reference.repository}/{path}")
        for attempt in range(self._retries + 1):
            last = attempt == self._retries
            pause: float | None
            try:
                response, body = self._send_authorized(method, url, reference)
            except httpx2.HTTPError as err:
                if last or not is_worth_retrying(err):
                    raise build_transport_error(err, reference.registry) from err
                pause = _pause(attempt)
                log.debug("%s %s: %s; again in %.1f s", method, url, describe_transport_error(err), pause)
            else:
                if response.is_success:
                    return response, body
                pause = self.read_pause(response, attempt)
                if pause is None or last:
                    raise build_status_error(response.status_code, str(reference), reference.registry)
                log.debug("%s %s: HTTP %d; again in %.1f s", method, url, response.status_code, pause)
            self._sleep(pause)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _send_authorized(self, method: str, url: httpx2.URL, reference: ImageReference) -> Answer:
        headers = {"Accept": ACCEPT} | self._tokens.read_headers(reference)
        response, body = self._http.send_redirected(method, url, headers)
        challenges = response.headers.get_list("www-authenticate")
        if response.status_code == 401 and challenges:
            try:
                fresh = self._tokens.fetch_headers(reference, challenges)
            except TokenRefusedError as refusal:
                return refusal.response, b""
            if fresh:
                return self._http.send_redirected(method, url, {"Accept": ACCEPT} | fresh)
        return response, body


def is_registry_reachable(host: str, timeout_seconds: float = 5.0, *, client: httpx2.Client) -> Reachability:
    """Say within seconds whether a registry answers at `host`, and what was seen.

    A page that is no registry (a captive portal, a proxy's refusal) does not count; an answer that asks for a
    login or for patience does.
    """

    def probe(registry: str) -> Reachability:
        try:
            request = client.build_request("GET", f"{_api_base(registry)}/v2/", timeout=timeout_seconds)
            response = client.send(request, stream=True, follow_redirects=False)
        except httpx2.HTTPError as err:
            return Reachability(False, describe_transport_error(err))
        response.close()
        return _judge_answer(response)

    return probe_registries([host], probe, timeout_seconds=timeout_seconds)[host]


def _judge_answer(response: httpx2.Response) -> Reachability:
    status = response.status_code
    is_registry = "docker-distribution-api-version" in response.headers
    is_json = response.headers.get("content-type", "").startswith("application/json")
    if status == 200 and (is_registry or is_json):
        return Reachability(True, "it answers")
    if status == 401 and "www-authenticate" in response.headers:
        return Reachability(True, "it answers")
    if status == 429:
        return Reachability(True, "it answers, but limits requests from this address")
    return Reachability(False, f"what answers there (HTTP {status}) is not a registry at work")


def _api_base(registry: str) -> str:
    host = _DOCKER_HUB_API if registry == DOCKER_HUB else registry
    return f"http://{host}" if is_loopback_host(host) else f"https://{host}"


def _manifest_path(reference: ImageReference) -> str:
    if not (reference.digest or reference.tag):
        raise ImageError(f"`{reference}` names neither a tag nor a digest", hint="add the tag of a release")
    return f"manifests/{reference.digest or reference.tag}"


def _check_same(reference: ImageReference, wanted: str | None, found: str) -> None:
    if wanted and wanted != found:
        raise ImageError(
            f"{reference.registry} serves other bytes for `{reference}` than it should: "
            f"{wanted} expected, {found} came",
            hint="do not use this registry or mirror until whoever runs it has explained that",
        )


def _pause(attempt: int) -> float:
    return min(_LONGEST_PAUSE_SECONDS, 0.5 * 2**attempt)
