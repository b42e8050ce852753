"""Log lines grouped into records: a line and those that continue it, such as a traceback. Pure.

Line by line, so that a log that still grows is shown as it comes. No line is lost, and their order is kept: what has no
level belongs to the record before it, or has at least its level where it comes much later.

Source: vLLM repeats the prefix of a message's first line before each other one and ends the one before with a carriage
return (logging_utils/formatter.py `NewLineFormatter`, 0.6 to 0.32).
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from stack.containers.log_formats import ParsedLine, parse_service_line
from stack.failures.log_json import LEVELS
from stack.failures.log_lines import LogLine

_ERRORS = ("ERROR", "CRITICAL")
_CLOCK = re.compile(r"(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)$")
_SLACK = datetime.timedelta(days=1)
# A traceback is written at once; what comes later is news, such as the next step of a progress bar.
_LONGEST_PAUSE = datetime.timedelta(seconds=5)
_TRACEBACK = "Traceback (most recent call last)"


@dataclass(frozen=True)
class RawLine:
    """A line as it was kept or as the daemon gives it.

    Attributes:
        text: What the container wrote, without the line feed; a carriage return before that is still there.
        at: When the daemon received it, where that is known.
    """

    text: str
    at: datetime.datetime | None = None


@dataclass(frozen=True)
class RecordLine:
    """A line as part of its record.

    Attributes:
        raw: What the container wrote, without carriage returns at its ends.
        line: Its own parts.
        record: The number of its record, from 1.
        is_first: Whether its record begins with it.
        at: When the record began; None where nothing tells.
        written_at: When the daemon received this line, where that is known, else as `at`.
        level: The record's level, one of `LEVELS`; None where nothing so far had one.
        request_ids: The requests that the record's first line names.
    """

    raw: str
    line: LogLine
    record: int
    is_first: bool
    at: datetime.datetime | None
    written_at: datetime.datetime | None
    level: str | None
    request_ids: tuple[str, ...] = ()


class LineGrouper:
    """Takes the lines of one container in their order and gives each as part of its record, at once.

    Args:
        began_at: When the first was written, about: the year of times that have none, and the time of lines before
            any time is told.
    """

    def __init__(self, began_at: datetime.datetime | None = None) -> None:
        self._began_at = began_at
        self._before: RecordLine | None = None
        self._goes_on = False
        self._count = 0

    def add(self, raw: RawLine) -> RecordLine:
        """Take the next line."""
        text, before = raw.text.strip("\r"), self._before
        self._count += 1
        parsed = parse_service_line(text, self._count)
        line = parsed.line
        if before is not None and _continues(before, parsed, raw.at, goes_on=self._goes_on):
            now = replace(before, raw=text, line=line, is_first=False, written_at=raw.at or before.at)
        else:
            at = raw.at or read_time(line.time, self._began_at) or (before.at if before else self._began_at)
            level = "ERROR" if parsed.is_fatal else line.level or (before.level if before else None)
            number = before.record + 1 if before else 1
            now = RecordLine(text, line, number, True, at, at, level, parsed.request_ids)
        self._goes_on = raw.text.endswith("\r") and not line.is_json
        self._before = now
        return now


def group_lines(lines: Iterable[RawLine], began_at: datetime.datetime | None = None) -> Iterator[RecordLine]:
    """Give each line of one container as part of its record."""
    grouper = LineGrouper(began_at)
    yield from map(grouper.add, lines)


def _continues(before: RecordLine, parsed: ParsedLine, at: datetime.datetime | None, *, goes_on: bool) -> bool:
    line, last = parsed.line, before.line
    if line.level is None and not line.is_json:
        is_late = at is not None and before.written_at is not None and at - before.written_at > _LONGEST_PAUSE
        return before.level in _ERRORS if parsed.is_fatal else goes_on or not is_late
    if line.is_json or last.is_json or _prefix(line) != _prefix(last) or not line.source:
        return False
    # A log that was kept without its carriage returns still shows which lines only continue.
    is_part = line.text[:1] in ("", " ", "\t") or line.text.startswith(_TRACEBACK)
    return goes_on or is_part or (line.level in _ERRORS and last.text[:1] in (" ", "\t"))


def _prefix(line: LogLine) -> tuple[str | None, str, str]:
    return line.level, line.process, line.source


def read_time(text: str, near: datetime.datetime | None = None) -> datetime.datetime | None:
    """Give a time as logs write it, in UTC; None for what is no time.

    Args:
        text: With a date and an offset; without an offset it is UTC, as in containers; or `11-21 22:05:18`.
        near: A time not long before it, which tells the year of one that has none.
    """
    if found := _CLOCK.match(text):
        return _read_clock([int(part) for part in found.groups()], near)
    try:
        moment = datetime.datetime.fromisoformat(text.replace("/", "-").replace(",", "."))
    except ValueError:
        return None
    return moment.replace(tzinfo=datetime.UTC) if moment.tzinfo is None else moment.astimezone(datetime.UTC)


def _read_clock(parts: list[int], near: datetime.datetime | None) -> datetime.datetime | None:
    if near is None:
        return None
    month, day, hour, minute, second = parts
    for year in (near.year, near.year + 1):
        try:
            moment = datetime.datetime(year, month, day, hour, minute, second, tzinfo=datetime.UTC)
        except ValueError:
            continue
        if moment >= near - _SLACK:
            return moment
    return None


def is_at_least(level: str | None, wanted: str) -> bool:
    """Tell whether a record's level is the wanted one or a worse one; one without any level always is."""
    return level is None or LEVELS.index(level) >= LEVELS.index(wanted)
