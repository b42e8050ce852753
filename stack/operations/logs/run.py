"""`stack logs`: what containers write and what is kept of engines that are gone, as it is and as it grows."""

from __future__ import annotations

import datetime
import heapq
import queue
import threading
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice

import docker

from stack.containers.layout import SERVICES
from stack.containers.log_records import RawLine
from stack.containers.log_stream import stream_lines
from stack.errors import StackError
from stack.operations.logs.select import LogEntry, LogQuery, Selector
from stack.operations.logs.sources import Source, find_sources, read_kept
from stack.operations.session import Session

ALL = "all"
_EARLIEST = datetime.datetime.min.replace(tzinfo=datetime.UTC)
# Before the first line that is shown: what it may belong to or have its level from.
_LINES_BEFORE = 2000
_TIME_BEFORE = datetime.timedelta(hours=1)
_DOCKERS_FIRST = datetime.datetime(2013, 1, 1, tzinfo=datetime.UTC)


def read_entries(session: Session, query: LogQuery, *, follow: bool = False) -> Iterator[LogEntry]:
    """Give the lines that are asked for; with `follow` also those that are still to come, until the containers end.

    Raises:
        NotRunningError: There is no log.
        ConfigError: Nothing is kept of the boot.
    """
    services = SERVICES if query.service == ALL else (query.service,)
    readers = [LogReader(session, source, query) for source in find_sources(session, services, query.boot)]
    found: Iterable[LogEntry] = merge_entries([reader.read() for reader in readers])
    yield from found if query.lines is None else deque(found, maxlen=query.lines)
    live = [reader for reader in readers if reader.source.container_id is not None]
    if follow and live:
        yield from live[0].follow() if len(live) == 1 else _follow_all(live)


def merge_entries(logs: Sequence[Iterable[LogEntry]]) -> Iterator[LogEntry]:
    """Give the entries of several logs by time; those of one log stay in their order."""
    if len(logs) == 1:
        yield from logs[0]
        return
    for _, entry in heapq.merge(*map(_with_times, logs), key=lambda item: item[0]):
        yield entry


def _with_times(log: Iterable[LogEntry]) -> Iterator[tuple[datetime.datetime, LogEntry]]:
    latest = _EARLIEST
    for entry in log:
        # Several processes write one log: a time may be a little earlier than the one before it.
        latest = max(latest, entry.line.at or _EARLIEST)
        yield latest, entry


class LogReader:
    """Reads one log and selects from it; what it has read so far, and where it goes on."""

    def __init__(self, session: Session, source: Source, query: LogQuery) -> None:
        self.source = source
        self._session = session
        self._query = query
        self._select = Selector(source, query)
        self._since = max(query.since, _DOCKERS_FIRST) - _TIME_BEFORE if query.since else None
        self._seen: Counter[int] = Counter()
        self._last_at: datetime.datetime | None = None

    def read(self) -> Iterator[LogEntry]:
        """Give what is selected of the log as it is now."""
        if self.source.path is not None:
            lines = read_kept(self.source.path)
            yield from (entry for raw in lines for entry in self._select.add(raw))
            return
        with closing(self._session.connect()) as client:
            for raw in self._fetch(client):
                if raw.at is not None:
                    self._last_at = raw.at
                    self._seen[int(raw.at.timestamp())] += 1
                yield from self._select.add(raw)

    def _fetch(self, client: docker.DockerClient) -> Iterable[RawLine]:
        container, lines = self.source.container_id or "", self._query.lines
        if lines is not None and self._query.takes_all:
            last = list(stream_lines(client, container, follow=False, tail=lines + _LINES_BEFORE))
            if len(last) > lines and _is_second_whole(last):
                return last
        return stream_lines(client, container, follow=False, since=self._since)

    def follow(self) -> Iterator[LogEntry]:
        """Give what is selected of the lines that come after those that `read` gave."""
        last = self._last_at
        since = last or self._since
        count = sum(n for second, n in self._seen.items() if last and second >= int(last.timestamp()))
        with closing(self._session.connect()) as client:
            lines = stream_lines(client, self.source.container_id or "", follow=True, since=since)
            # The daemon begins with a whole second, of which some lines are told already.
            for raw in islice(lines, count, None):
                yield from self._select.add(raw)


def _is_second_whole(last: Sequence[RawLine]) -> bool:
    """Tell whether the last lines of a log hold all of its last second: `follow` counts them."""
    first, end = last[0].at, last[-1].at
    return first is not None and end is not None and int(first.timestamp()) < int(end.timestamp())


def _follow_all(readers: Sequence[LogReader]) -> Iterator[LogEntry]:
    """Follow several containers at once, until the last of them ends."""
    told: queue.Queue[LogEntry | StackError | None] = queue.Queue(maxsize=1000)

    def follow(reader: LogReader) -> None:
        try:
            for entry in reader.follow():
                told.put(entry)
        except StackError as err:
            told.put(err)
        else:
            told.put(None)

    for reader in readers:
        threading.Thread(target=follow, args=(reader,), daemon=True).start()
    running = len(readers)
    while running:
        item = told.get()
        if isinstance(item, StackError):
            raise item
        if item is None:
            running -= 1
        else:
            yield item
