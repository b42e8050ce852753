"""A log's lines without what others put before them: Docker, Compose, journald, vLLM, colours, progress bars. Pure.

Source: the prefixes as vLLM 0.6 to 0.32 (vllm/logging_utils, utils/system_utils.py `decorate_logs`), `docker logs
--timestamps`, `docker compose logs`, Docker Desktop, journald and torch.distributed (`[rank0]:`) print them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

QUIET_LEVELS = ("DEBUG", "INFO", "WARNING")
"""Levels of lines that report no failure."""

_MESSAGE_CHARS = 4096
"""No failure is told further back in a line, and a search in an endless one would never end."""

_BOX = "│ "
"""What a terminal program such as k9s draws beside a log."""

_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_FRAME = re.compile(
    r"(?:"
    r"\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?\]?[ \t]+(?:std(?:out|err) [FP] )?"
    r"|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \S+ [\w.-]+(?:\[\d+\])?: "
    r"|\[?[A-Za-z][\w.-]*\]? +\| ?"
    r")"
)
_PROCESS = re.compile(r"(?P<process>\([A-Za-z]\w*(?: \w+=\d+)*? pid=\d+[^()]*\)|\[rank\d+\]:|\[Stage-\d+\]) ?")
_LEVEL = re.compile(
    r"(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d (?:\[[^\]]*\] ?|\S+\.py:\d+\] ?)?"
)
# A bar is drawn without a line feed: what another process says next stands behind it.
_BEHIND_A_BAR = re.compile(r"(?<=[^ ])(?=\([A-Z]\w* pid=\d+\) )")
_UVICORN = re.compile(r"(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL):\s")


@dataclass(frozen=True)
class LogLine:
    """One line of a log.

    Attributes:
        number: Where it stands, from 1; of what several carriage returns part, all have the same.
        text: What was said.
        level: The level that the program gave it, or None where it gave none.
        process: The process that said it, as the log names it, or an empty string.
    """

    number: int
    text: str
    level: str | None = None
    process: str = ""


def parse_lines(lines: Iterable[str]) -> Iterator[LogLine]:
    """Give each line's message, with its number."""
    for number, raw in enumerate(lines, 1):
        for part in raw.rstrip("\r\n").split("\r"):
            for piece in _BEHIND_A_BAR.split(part):
                yield parse_line(piece, number)


def parse_line(line: str, number: int = 1) -> LogLine:
    """Part one line into its message, level and process."""
    rest = _COLOUR.sub("", line[: 2 * _MESSAGE_CHARS].rstrip("\r\n"))
    if rest.startswith(_BOX):
        rest = rest.removeprefix(_BOX).rstrip(" │")
    process, level = "", None
    frame = _FRAME.match(rest)
    while frame:
        rest = rest[frame.end() :]
        frame = _FRAME.match(rest)
    found = _PROCESS.match(rest)
    while found:
        process, rest = process or found["process"], rest[found.end() :]
        found = _PROCESS.match(rest)
    stamped = _LEVEL.match(rest)
    if stamped:
        level, rest = stamped["level"], rest[stamped.end() :]
        again = _PROCESS.match(rest)
        if again:
            process, rest = process or again["process"], rest[again.end() :]
    elif uvicorn := _UVICORN.match(rest):
        level = uvicorn["level"]
    return LogLine(number, rest[:_MESSAGE_CHARS], level, process)


def parse_message(line: str) -> str:
    """Give a log line's message, without the process, level, time and source that vLLM puts before it."""
    return parse_line(line).text
