"""Server-sent events: bytes in, the data of each event out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

DONE = "[DONE]"


class EventReader:
    """Gives the data of each event as soon as its last byte is there.

    Lines end at line feeds only (with or without a carriage return): what else Unicode counts as a line's end
    may stand inside the JSON of an event. Comments (a keep-alive is `: …`) and other fields are passed over.

    Source:
        WHATWG HTML, "Server-sent events", interpreting an event stream.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[str] = []

    def feed(self, received: bytes) -> list[str]:
        """Take what came, and give the events that it ends."""
        lines = (self._rest + received).replace(b"\r\n", b"\n").split(b"\n")
        self._rest = lines.pop()
        return [event for line in lines if (event := self._take(line)) is not None]

    def close(self) -> list[str]:
        """Give the event that the connection's end cut off, for the caller to judge."""
        self._take(self._rest)
        self._rest = b""
        event = self._take(b"")
        return [] if event is None else [event]

    def _take(self, raw: bytes) -> str | None:
        line = raw.decode(errors="replace").rstrip("\r")
        if line:
            name, _, value = line.partition(":")
            if name == "data":
                self._data.append(value.removeprefix(" "))
            return None
        event, self._data = "\n".join(self._data) if self._data else None, []
        return event


def parse_events(received: Iterable[bytes]) -> Iterator[str]:
    """Give the data of each event of a stream, the one that its end cut off too."""
    reader = EventReader()
    for part in received:
        yield from reader.feed(part)
    yield from reader.close()
