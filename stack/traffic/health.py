"""Ask a service on this machine whether it answers, with nothing but the standard library: `status` must be quick."""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from http import HTTPStatus


@dataclass(frozen=True)
class Probe:
    """What a service answered.

    Attributes:
        is_answering: Whether it answered 2xx.
        said: What it said or why it said nothing, in words.
    """

    is_answering: bool
    said: str


def probe_health(port: int, path: str, *, timeout_seconds: float, host: str = "127.0.0.1") -> Probe:
    """Ask a service's health page; no answer is an answer too.

    Args:
        port: The host's port.
        path: The page, `/health`.
        timeout_seconds: For connecting and for each read.
        host: The host's address.
    """
    connection = http.client.HTTPConnection(host, port, timeout=timeout_seconds)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except TimeoutError:
        return Probe(False, f"{path} gave no answer within {timeout_seconds:g} s")
    except ConnectionRefusedError:
        return Probe(False, f"{path}: connection refused")
    except (OSError, http.client.HTTPException) as err:
        return Probe(False, f"{path}: {err or type(err).__name__}")
    finally:
        connection.close()
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Probe(True, f"{path}: {status}")
    return Probe(False, f"{path} answers with HTTP {status}")
