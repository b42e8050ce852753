"""Server-sent events: lines in, the data of each event out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

DONE = "[DONE]"


def parse_events(lines: Iterable[str]) -> Iterator[str]:
    """Give the data of each event, as soon as its last line is there.

    Comments (a keep-alive is `: …`) and other fields are passed over; an event that the connection's end
    cut off is given too, for the caller to judge.

    Source:
        WHATWG HTML, "Server-sent events", interpreting an event stream.
    """
    data: list[str] = []
    for raw in lines:
        line = raw.rstrip("\r\n")
        if not line:
            if data:
                yield "\n".join(data)
                data = []
            continue
        name, _, value = line.partition(":")
        if name == "data":
            data.append(value.removeprefix(" "))
    if data:
        yield "\n".join(data)
