"""A log's lines without what others put before them: Docker, Compose, journald, vLLM, colours, progress bars. Pure.

The one place that knows how a raw line is made up, as vLLM's text or as its JSON: what reads a log sees messages.

Source: the prefixes as vLLM 0.6 to 0.32 (vllm/logging_utils, utils/system_utils.py `decorate_logs`), `docker logs
--timestamps`, `docker compose logs`, Docker Desktop, journald and torch.distributed (`[rank0]:`) print them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from stack.failures.log_json import parse_json_message

QUIET_LEVELS = ("DEBUG", "INFO", "WARNING")
"""Levels of lines that report no failure."""

_MESSAGE_CHARS = 4096
"""No failure is told further back in a line, and a search in an endless one would never end."""

_BOX = "│ "
"""What a terminal program such as k9s draws beside a log."""

_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_FRAME = re.compile(
    r"(?:"
    r"\[?(?P<time>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?)\]?[ \t]+"
    r"(?:std(?:out|err) [FP] )?"
    r"|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \S+ [\w.-]+(?:\[\d+\])?: "
    r"|\[?[A-Za-z][\w.-]*\]? +\| ?"
    r")"
)
_PROCESS = re.compile(r"(?P<process>\([A-Za-z][\w-]*(?: \w+=\d+)*? pid=\d+[^()]*\)|\[rank\d+\]:|\[Stage-\d+\]) ?")
_LEVEL = re.compile(
    r"(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL) (?P<time>\d\d-\d\d \d\d:\d\d:\d\d) "
    r"(?:\[(?P<source>[^\]]*)\] ?|(?P<old_source>\S+\.py:\d+)\] ?)?"
)
# A bar is drawn without a line feed: what another process says next stands behind it.
_BEHIND_A_BAR = re.compile(r"(?<=[^ ])(?=\([A-Z][\w-]* pid=\d+\) )")
_UVICORN = re.compile(r"(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL):\s")


@dataclass(frozen=True)
class LogLine:
    """One line of a log.

    Attributes:
        number: Where it stands, from 1; of what several carriage returns part, all have the same.
        text: What was said.
        level: The level that the program gave it, or None where it gave none.
        process: The process that said it, as the log names it, or an empty string.
        time: When, as the log has it: what Docker or others put before the line, else the program's own, which in
            vLLM's text has no year; an empty string where there is none.
        source: Where in the program (`core.py:133`), or an empty string.
        logger: The logger, where the log names it.
        is_json: Whether the line was a JSON document; then the text may be of several lines.
    """

    number: int
    text: str
    level: str | None = None
    process: str = ""
    time: str = ""
    source: str = ""
    logger: str = ""
    is_json: bool = False


def parse_lines(lines: Iterable[str]) -> Iterator[LogLine]:
    """Give each line's message, with its number; of a message of several lines, each of them."""
    for number, raw in enumerate(lines, 1):
        for part in raw.rstrip("\r\n").split("\r"):
            for line in _parse_part(part, number):
                if line.is_json:
                    yield from (replace(line, text=text[:_MESSAGE_CHARS]) for text in line.text.split("\n"))
                else:
                    yield line


def _parse_part(part: str, number: int) -> list[LogLine]:
    pieces = _BEHIND_A_BAR.split(part)
    if len(pieces) > 1 and (whole := parse_line(part, number)).is_json:
        return [whole]
    return [parse_line(piece, number) for piece in pieces]


def parse_line(line: str, number: int = 1) -> LogLine:
    """Part one line into its message, level and process."""
    rest = _COLOUR.sub("", line[: 2 * _MESSAGE_CHARS].rstrip("\r\n"))
    if rest.startswith(_BOX):
        rest = rest.removeprefix(_BOX).rstrip(" │")
    process, time, level, source = "", "", None, ""
    while frame := _FRAME.match(rest):
        time, rest = time or frame["time"] or "", rest[frame.end() :]
    while found := _PROCESS.match(rest):
        process, rest = process or found["process"], rest[found.end() :]
    if rest.startswith("{") and (read := _parse_json(line, process, time, number)):
        return read
    stamped = _LEVEL.match(rest)
    if stamped:
        level, source = stamped["level"], stamped["source"] or stamped["old_source"] or ""
        time, rest = time or stamped["time"], rest[stamped.end() :]
        again = _PROCESS.match(rest)
        if again:
            process, rest = process or again["process"], rest[again.end() :]
    elif uvicorn := _UVICORN.match(rest):
        level = uvicorn["level"]
    return LogLine(number, rest[:_MESSAGE_CHARS], level, process, time, source)


def _parse_json(line: str, process: str, time: str, number: int) -> LogLine | None:
    # Of the whole line, which may be longer than any message: half a document is none.
    message = parse_json_message(line[line.index("{") :])
    if message is None:
        return None
    return LogLine(
        number,
        message.text,
        message.level,
        process or message.process,
        time or message.time,
        message.source,
        message.logger,
        is_json=True,
    )


def parse_message(line: str) -> str:
    """Give a log line's message, without the process, level, time and source that vLLM puts before it."""
    return parse_line(line).text
