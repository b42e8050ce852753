"""One request to a registry, bounded in time and size, following only redirects that are safe."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import httpx2

from stack.errors import ImageError
from stack.images.reference import is_loopback_host

Answer = tuple[httpx2.Response, bytes]

_BODY_LIMIT_BYTES = 8 * 1024 * 1024  # manifests are kilobytes; a config with a long history may be more
_REDIRECTS = 5


class BoundedSender:
    """Sends requests with limits that a slow or hostile server cannot stretch.

    Args:
        client: Its own redirect setting does not matter; its `verify` holds the CA bundle.
        timeout_seconds: Time limit of one request, body included.
        clock: Seconds that only grow.
    """

    def __init__(self, client: httpx2.Client, timeout_seconds: float, clock: Callable[[], float]) -> None:
        self._client = client
        self._timeout_seconds = timeout_seconds
        self._clock = clock

    def send(self, method: str, url: httpx2.URL, headers: Mapping[str, str]) -> Answer:
        """Send one request, follow no redirect, and read its body within the limits.

        Raises:
            ImageError: The body is too large to be metadata.
            httpx2.HTTPError: There is no whole answer in time.
        """
        deadline = self._clock() + self._timeout_seconds
        return self._read(self._open(method, url, headers), deadline)

    def send_redirected(self, method: str, url: httpx2.URL, headers: Mapping[str, str]) -> Answer:
        """Send a request and follow where it leads; another host gets no `Authorization`.

        Raises:
            ImageError: It leads in circles or somewhere unsafe.
            httpx2.HTTPError: There is no whole answer in time.
        """
        response = self.open_redirected(method, url, headers)
        return self._read(response, self._clock() + self._timeout_seconds)

    def open_redirected(self, method: str, url: httpx2.URL, headers: Mapping[str, str]) -> httpx2.Response:
        """Send a request as `send_redirected` does, and leave reading and closing the answer to the caller.

        The time limit then holds for the answer's beginning and for each piece of it.

        Raises:
            ImageError: It leads in circles or somewhere unsafe.
            httpx2.HTTPError: There is no answer in time.
        """
        target, sent = url, dict(headers)
        for _ in range(_REDIRECTS + 1):
            response = self._open(method, target, sent)
            if not response.has_redirect_location:
                return response
            response.close()
            origin, target = target, _join(target, response.headers["location"])
            _check_redirect(origin, target)
            if (origin.scheme, origin.host, origin.port) != (target.scheme, target.host, target.port):
                # A blob store is another party: the registry's token is none of its business.
                sent.pop("Authorization", None)
        raise ImageError(f"{url.host} redirects more than {_REDIRECTS} times")

    def _open(self, method: str, url: httpx2.URL, headers: Mapping[str, str]) -> httpx2.Response:
        request = self._client.build_request(method, url, headers=dict(headers), timeout=self._timeout_seconds)
        return self._client.send(request, stream=True, follow_redirects=False)

    def _read(self, response: httpx2.Response, deadline: float) -> Answer:
        body = bytearray()
        try:
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > _BODY_LIMIT_BYTES:
                    limit = f"{_BODY_LIMIT_BYTES} bytes"
                    raise ImageError(f"{response.url.host} answers with more than {limit} where a manifest should be")
                if self._clock() > deadline:
                    raise httpx2.ReadTimeout("the answer trickles", request=response.request)
        finally:
            response.close()
        return response, bytes(body)


def _join(origin: httpx2.URL, location: str) -> httpx2.URL:
    try:
        return origin.join(location)
    except httpx2.InvalidURL as err:
        raise ImageError(f"{origin.host} redirects to `{location}`, which is no URL") from err


def _check_redirect(origin: httpx2.URL, target: httpx2.URL) -> None:
    # Plain HTTP is followed only where it began as plain HTTP on this machine and stays here.
    is_local = origin.scheme == target.scheme == "http" and is_loopback_host(target.host)
    if target.scheme != "https" and not is_local:
        raise ImageError(f"{origin.host} redirects to `{target.scheme}://{target.host}`, which is not safe")
