"""What a registry's refusals and silences mean, and what to do about each."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

import httpx2

from stack.errors import ImageError

_MIRROR_HINT = "name a mirror in `images.mirror`, or build from packages with `--images packages`"


class MissingImageError(ImageError):
    """The registry answers, and has no such tag or digest."""


class UnreachableRegistryError(ImageError):
    """Nothing answers where the registry should be, so other questions to it need not be asked."""


def build_status_error(status: int, what: str, registry: str) -> ImageError:
    """Say what an HTTP status means for the thing asked for.

    Args:
        status: The HTTP status, not a success.
        what: What was asked for, as a reference.
        registry: The registry asked.
    """
    if status == 401:
        return ImageError(
            f"{registry} gives `{what}` to nobody without a login (HTTP 401)",
            hint=f"check the name (a repository that does not exist looks like this too), or `docker login {registry}`",
        )
    if status == 403:
        return ImageError(
            f"{registry} refuses `{what}` (HTTP 403)",
            hint=f"`docker login {registry}` as someone who may read it, or ask whoever runs the proxy",
        )
    if status == 404:
        return MissingImageError(
            f"{registry} has no `{what}` (HTTP 404)",
            hint="check the name and the tag; upstream deletes nightly tags after about two weeks",
        )
    if status == 429:
        return ImageError(
            f"{registry} refuses `{what}` for now: too many requests from this address (HTTP 429)",
            hint=f"wait, `docker login {registry}` for a higher limit, or {_MIRROR_HINT}",
        )
    if status >= 500:
        return ImageError(
            f"{registry} fails to answer for `{what}` (HTTP {status})",
            hint=f"try again later, or {_MIRROR_HINT}",
        )
    return ImageError(f"{registry} answers HTTP {status} for `{what}`, which is not understood")


def build_transport_error(error: httpx2.HTTPError, registry: str) -> ImageError:
    """Say why a registry could not be talked to."""
    reason = describe_transport_error(error)
    if is_tls_error(error):
        return ImageError(
            f"the connection to {registry} cannot be trusted: {reason}",
            hint="behind a corporate proxy, name its certificates in `images.ca-bundle`",
        )
    return UnreachableRegistryError(
        f"{registry} is not reachable: {reason}", hint=f"check the network, or {_MIRROR_HINT}"
    )


def describe_transport_error(error: httpx2.HTTPError) -> str:
    """Give the reason of a failed request in a few words."""
    for cause in _causes(error):
        if isinstance(cause, socket.gaierror):
            return "its name cannot be resolved"
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not valid here ({getattr(cause, 'verify_message', cause)})"
        if isinstance(cause, ConnectionRefusedError):
            return "connection refused"
    if isinstance(error, httpx2.TimeoutException):
        return "no answer in time"
    return str(error) or type(error).__name__


def is_tls_error(error: BaseException) -> bool:
    """Say whether TLS is what failed."""
    return any(isinstance(cause, ssl.SSLError) for cause in _causes(error))


def is_worth_retrying(error: httpx2.HTTPError) -> bool:
    """Say whether asking again may help: with a lost connection, not with a name, a port or a certificate."""
    return isinstance(error, httpx2.TimeoutException | httpx2.ReadError | httpx2.RemoteProtocolError)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
