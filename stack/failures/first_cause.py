"""The first cause in a log of a failure that nobody has described yet. Pure.

A Python traceback ends in the exception's own line, and later processes only repeat that theirs failed too: what
comes first is nearest to the cause. Of exceptions that Python chains, the last says what the first one led to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from stack.failures.log_lines import QUIET_LEVELS, LogLine, parse_lines

_NAME = r"(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Failure|Timeout|Refused)"
_EXCEPTION = re.compile(rf"{_NAME}: \S|{_NAME}(?:\(\d+\))?: ?$")
_BARE_EXCEPTION = re.compile(rf"{_NAME}$")
_PROGRAM = re.compile(
    r"(?:usage error|(?:\w+\.py|vllm(?: \w+)*): error|serve\.sh: error|Fatal Python error): "
    r"|(?:/bin/)?(?:ba)?sh: .*(?:not found|No such file)|exec \S+: |\S+: error while loading shared libraries: "
    r"|(?:docker: |nvidia-container-cli: |Error response from daemon: |error during connect: |failed to solve: )"
    r"|(?:Segmentation fault|Bus error|Illegal instruction|Killed|Aborted)\b|terminate called "
)
# What only tells that another process failed: never the cause while anything else is said.
_ECHO = re.compile(
    r"Engine core initialization failed|See (?:root cause|stack trace)|EngineCore (?:failed|encountered)"
    r"|EngineDeadError|CancelledError|died unexpectedly|is already dead|KeyboardInterrupt|SystemExit"
    r"|terminated\b.*\bparent"
)
_CHAIN = re.compile(r"During handling of the above exception|The above exception was the direct cause")
# A pydantic error, and some others, say what is wrong only in the line after their own.
_GOES_ON = re.compile(r"\d+ validation errors? for |:$")
_KINDS = ("failure", "error line", "echo")
_TEXT_CHARS = 1000
SERVING = re.compile(r"Application startup complete|Uvicorn running on")
"""What an engine says when it serves: what came before did not keep it from that."""


@dataclass(frozen=True)
class Cause:
    """What a log names first.

    Attributes:
        text: What it says.
        line_number: Where that stands, from 1.
        led_to: The last exception of the same chain, or an empty string.
        is_echo: Whether it only tells that something failed, and the log nothing better.
    """

    text: str
    line_number: int
    led_to: str = ""
    is_echo: bool = False

    def __str__(self) -> str:
        return f"{self.text} (which led to: {self.led_to})" if self.led_to else self.text


class CauseFinder:
    """Takes a log line by line and keeps what it names first; its memory does not grow with the log."""

    def __init__(self) -> None:
        self._named: dict[str, _Named] = {}
        self._chain: _Named | None = None
        self._is_chained = False
        self._unfinished: _Named | None = None
        self._is_in_frames = False

    def add(self, line: LogLine) -> None:
        """Take one line."""
        if SERVING.search(line.text):
            # What the engine served in spite of is the cause of nothing.
            self._named = {}
            self._chain = self._unfinished = None
            return
        text = line.text.strip()
        if line.level in QUIET_LEVELS or not text:
            return
        if self._unfinished is not None:
            self._unfinished.add(text)
            self._unfinished = None
            return
        kind = self._classify(line, text)
        self._is_in_frames = line.text.startswith("  ") or text.startswith("Traceback (most recent")
        if kind is not None:
            self._keep(kind, line, text)
        elif self._chain is not None and line.process == self._chain.process and _CHAIN.match(text):
            self._is_chained = True

    def find(self) -> Cause | None:
        """Give what was named first since the engine served, or None where nothing was."""
        for kind in _KINDS:
            if kind in self._named:
                found = self._named[kind]
                led_to = found.texts[1] if len(found.texts) > 1 else ""
                return Cause(found.texts[0], found.line_number, led_to, is_echo=kind == "echo")
        return None

    def _classify(self, line: LogLine, text: str) -> str | None:
        is_bare = self._is_in_frames and not line.text.startswith(" ") and _BARE_EXCEPTION.match(text)
        if _EXCEPTION.match(text) or _PROGRAM.match(text) or is_bare:
            return "echo" if _ECHO.search(text) else "failure"
        if line.level in ("ERROR", "CRITICAL") and not line.text.startswith(" ") and not _is_frame(text):
            return "echo" if _ECHO.search(text) else "error line"
        return None

    def _keep(self, kind: str, line: LogLine, text: str) -> None:
        chain, is_chained, self._is_chained = self._chain, self._is_chained, False
        if is_chained and chain is not None and line.process == chain.process and kind != "error line":
            chain.texts[1:] = [text]
            self._unfinished = chain if _GOES_ON.search(text) else None
        elif kind not in self._named:
            named = self._named[kind] = _Named([text[:_TEXT_CHARS]], line.number, line.process)
            self._unfinished = named if _GOES_ON.search(text) else None
            self._chain = named if kind == "failure" else self._chain
        elif kind == "failure":
            self._chain = None


@dataclass
class _Named:
    texts: list[str]
    line_number: int
    process: str

    def add(self, text: str) -> None:
        self.texts[-1] = f"{self.texts[-1]} {text}"[:_TEXT_CHARS]


def find_first_cause(lines: Iterable[str]) -> Cause | None:
    """Give the first line that names a failure: the cause, not the traceback that the log ends in."""
    finder = CauseFinder()
    for line in parse_lines(lines):
        finder.add(line)
    return finder.find()


def _is_frame(text: str) -> bool:
    return text.startswith(("Traceback (most recent", "File ", "^", "~")) or bool(_CHAIN.match(text))
