"""What `stack logs` shows of a log: by boot, level, time and request, record by record. Pure."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from stack.containers.log_records import LineGrouper, RawLine, RecordLine, is_at_least
from stack.failures.line_matcher import LineMatcher
from stack.history.records import BootRecord
from stack.operations.logs.sources import Source

_HELD_LINES = 2000


@dataclass(frozen=True)
class LogQuery:
    """What is asked for.

    Attributes:
        service: A Compose service, or `all`.
        lines: Only so many of the last lines that are selected.
        request_id: Only records that name this request.
        level: Only records of this level and worse ones, one of Python's names.
        since: Only records that began then or later.
        until: Only records that began then or earlier.
        boot: A boot's number, `last` or `all`; None for what the service's container holds.
        is_labelled: Whether failures are looked for in the catalogue.
    """

    service: str = "engine"
    lines: int | None = None
    request_id: str | None = None
    level: str | None = None
    since: datetime.datetime | None = None
    until: datetime.datetime | None = None
    boot: str | int | None = None
    is_labelled: bool = False

    @property
    def takes_all(self) -> bool:
        """Tell whether every line of the containers is selected."""
        filters = (self.request_id, self.level, self.since, self.until)
        return self.boot in (None, "all") and all(one is None for one in filters)


@dataclass(frozen=True)
class LogEntry:
    """A line that is selected.

    Attributes:
        service: The Compose service.
        line: The line and its record.
        boot: The boot of the engine that it belongs to, where known.
        failure: The known failure that it tells, by its name in the catalogue.
    """

    service: str
    line: RecordLine
    boot: BootRecord | None = None
    failure: str | None = None


class Selector:
    """Takes a log's lines in their order and gives those that are asked for, each as soon as that is known."""

    def __init__(self, source: Source, query: LogQuery) -> None:
        self._source, self._query = source, query
        self._grouper = LineGrouper(source.began_at)
        self._matcher = LineMatcher() if query.is_labelled else None
        self._wanted_boot = _choose_boot(source, query.boot)
        name = query.request_id
        # Before and behind an id vLLM puts words of its own: `chatcmpl-ID-0`.
        self._request = re.compile(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])") if name else None
        self._is_wanted = False
        self._held: list[LogEntry] = []

    def add(self, raw: RawLine) -> Sequence[LogEntry]:
        """Take the next line; give it if it is selected, behind those of its record that waited for that."""
        line = self._grouper.add(raw)
        boot = self._source.find_boot(line.written_at)
        entry = LogEntry(self._source.service, line, boot, self._find_failure(line))
        if line.is_first:
            self._held, self._is_wanted = [], False
        if not self._is_in_question(entry):
            return ()
        self._is_wanted = self._is_wanted or self._request is None or self._names_request(line)
        if not self._is_wanted:
            # A later line of the same record may name the request.
            self._held = [*self._held[-_HELD_LINES:], entry]
            return ()
        told, self._held = [*self._held, entry], []
        return told

    def _is_in_question(self, entry: LogEntry) -> bool:
        query, line = self._query, entry.line
        if self._wanted_boot is not None and (entry.boot is None or entry.boot.id != self._wanted_boot):
            return False
        if query.level is not None and not is_at_least(line.level, query.level):
            return False
        if line.at is None:
            return True
        return (query.since is None or line.at >= query.since) and (query.until is None or line.at <= query.until)

    def _names_request(self, line: RecordLine) -> bool:
        assert self._request is not None
        named = line.request_ids if line.is_first else ()
        return any(self._request.search(text) for text in named or (line.line.text,))

    def _find_failure(self, line: RecordLine) -> str | None:
        if self._matcher is None:
            return None
        # A document may hold a message of several lines; to the end, since later lines are held against earlier ones.
        parts = [replace(line.line, text=text, level=line.level) for text in line.line.text.split("\n")]
        found = [self._matcher.find_failure(part) for part in parts]
        return next((name for name in found if name is not None), None)


def _choose_boot(source: Source, boot: str | int | None) -> int | None:
    if boot == "last":
        return source.boots[-1].id if source.boots else None
    return boot if isinstance(boot, int) else None
