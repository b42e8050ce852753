"""A container's output from the daemon, line by line with the time of each, so far or as it grows."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from http import HTTPStatus

import docker
from docker.errors import APIError, NotFound

from stack.containers.daemon import parse_time, translated
from stack.containers.log_records import RawLine

# Docker cuts what is longer into parts, and puts the time before each of them
# (moby, daemon/logger/copier.go `defaultBufSize`).
_PART_BYTES = 16384
_STAMP = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d) ")


def stream_lines(
    client: docker.DockerClient,
    container_id: str,
    *,
    follow: bool,
    since: datetime.datetime | None = None,
    tail: int | None = None,
) -> Iterator[RawLine]:
    """Give a container's lines with the times at which the daemon received them.

    Args:
        client: A connection.
        container_id: The container; nothing comes of one that is gone.
        follow: Go on as new lines come, until the container ends.
        since: Only lines of this whole second and later.
        tail: Only the last ones, of which Docker counts each part of 16 KiB; None gives all.
    """
    seconds = int(since.timestamp()) if since is not None else None
    last = "all" if tail is None else tail
    with translated("reading a container's log"):
        try:
            container = client.containers.get(container_id)
        except NotFound:
            return
        chunks = container.logs(stream=True, follow=follow, timestamps=True, since=seconds, tail=last)
        yield from map(parse_stamped, split_bytes(chunks))


def read_log(client: docker.DockerClient, container_id: str, *, since: datetime.datetime | None = None) -> str:
    """Give a container's output so far, without times; nothing of a container that is gone."""
    with translated("reading a container's log"):
        try:
            output = client.containers.get(container_id).logs(since=since)
        except APIError as err:
            # Of one that is marked for removal the daemon gives no log any more: as good as gone.
            if not isinstance(err, NotFound) and err.status_code != HTTPStatus.CONFLICT:
                raise
            return ""
    return "".join(line.decode(errors="replace").strip("\r") + "\n" for line in split_bytes(iter([output])))


def split_bytes(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Give whole lines, without their line feeds, from pieces of output that end anywhere."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
    if rest:
        yield rest


def parse_stamped(line: bytes) -> RawLine:
    """Part the daemon's time from a line, and take the times out of a line that Docker had cut into parts."""
    found = _STAMP.match(line)
    if found is None:
        return RawLine(line.decode(errors="replace"))
    rest, parts = line, []
    while again := _STAMP.match(rest):
        end = again.end() + _PART_BYTES
        parts.append(rest[again.end() : end])
        rest = rest[end:]
    text = b"".join([*parts, rest]).decode(errors="replace")
    return RawLine(text, parse_time(found[0].decode().strip()))
