"""`stack explain`: what the log of a failed boot, or anybody's log, tells."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from stack.config.engine_flags import KNOWN_FLAGS
from stack.errors import ConfigError, Problem
from stack.failures.catalogue import load_catalogue
from stack.failures.explain import Diagnosis, Explained, diagnose
from stack.history.store import open_history
from stack.operations.paragraphs import wrap_paragraph
from stack.operations.session import Session
from stack.progress import ProgressEvent, Report, ignore

SCHEMA_VERSION = 1
VOCABULARIES = {"engine-flags": KNOWN_FLAGS}
"""Names among which the catalogue looks for the nearest to a wrong one."""

_LINE_BYTES = 65536
_TOLD_BYTES = 4 * 1024**2
_SAMPLE_CHARS = 512
# Not the tabulator, line ends, and what draws progress bars and colours.
_NO_TEXT = re.compile(r"[\x00-\x07\x0e-\x1a\x1c-\x1f\x7f\ufffd]")
UNKNOWN_NEXT = (
    "look for it at https://github.com/vllm-project/vllm/issues; `stack explain --list` shows what this tool knows"
)
_ECHO_NEXT = (
    "the cause stands further up in the whole log, or in another process's: `docker logs NAME 2>&1 | stack explain -`"
)
_GROUP = re.compile(r"\{\w+\}")


def explain_log(log: BinaryIO, report: Report = ignore) -> Diagnosis:
    """Read a log to its end and give what it tells; memory does not grow with it.

    Args:
        log: The log.
        report: Told how far it is.
    """
    return diagnose(read_lines(log, report), VOCABULARIES)


def read_lines(log: BinaryIO, report: Report = ignore) -> Iterator[str]:
    """Give a log's lines; of one that is longer than 64 KiB only its beginning, of one that is no text nothing."""
    is_rest, read_bytes, told_bytes = False, 0, 0
    while chunk := log.readline(_LINE_BYTES):
        if not is_rest:
            text = chunk.decode(errors="replace")
            # Every line is held against the whole catalogue, and nothing in it is binary.
            yield "" if is_noise(text) else text
        is_rest = not chunk.endswith(b"\n")
        read_bytes += len(chunk)
        if read_bytes - told_bytes >= _TOLD_BYTES:
            told_bytes = read_bytes
            report(ProgressEvent("explain", "reading the log", read_bytes))
    if told_bytes:
        report(ProgressEvent("explain", "read", read_bytes, read_bytes, "done"))


def is_noise(line: str) -> bool:
    """Tell whether a line is binary: a quarter of its beginning is no character, or controls something."""
    start = line[:_SAMPLE_CHARS]
    return 4 * len(_NO_TEXT.findall(start)) > len(start)


def find_failed_log(session: Session) -> Path:
    """Give the kept log of the project's last boot that failed.

    Raises:
        ConfigError: No boot failed, or nothing is kept of it.
    """
    boots = open_history(session.paths.history).recent_boots(50) if session.paths.history.is_file() else []
    ended = [boot for boot in boots if boot.outcome not in ("ready", "interrupted")]
    failed = [Path(boot.start.log_path) for boot in ended if boot.start.log_path is not None]
    kept = [path for path in failed if path.is_file() and path.stat().st_size]
    if kept:
        return kept[0]
    said = "no boot failed" if not failed else "the log of the boot that failed is not kept any more"
    raise ConfigError(
        [Problem("", f"project `{session.project}`: {said}")],
        hint="`stack explain LOGFILE` reads any log, `stack explain -` standard input",
    )


def build_document(diagnosis: Diagnosis, source: str) -> dict[str, Any]:
    """Give the JSON document of an explanation."""
    known, first = diagnosis.explained, diagnosis.first_cause
    return {
        "schema_version": SCHEMA_VERSION,
        "source": source,
        "line_count": diagnosis.line_count,
        "explained": None if known is None else _build_failure(known),
        "also_seen": [] if known is None else [_build_failure(item) for item in known.also],
        "first_cause": None
        if first is None
        else {"text": first.text, "line_number": first.line_number, "led_to": first.led_to or None},
        "served_line": diagnosis.served_line,
        "before_served": [_build_failure(item) for item in diagnosis.before],
    }


def render_lines(diagnosis: Diagnosis, source: str) -> list[str]:
    """Give an explanation as text: what, the line that says so, what to do next."""
    known, first = diagnosis.explained, diagnosis.first_cause
    if known is not None:
        also = [f"also seen (line {item.line_number}): {item.cause}" for item in known.also]
        return [
            f"{known.id}: {known.cause}",
            "",
            f"  {source}, line {known.line_number}: {known.line}",
            "",
            f"next: {known.next}",
            *also,
        ]
    if first is None:
        return _render_health(diagnosis, source)
    led_to = ["  which led to: " + first.led_to] if first.led_to else []
    return [
        "the log says that something failed, and not why:"
        if first.is_echo
        else "this failure is not known; the first cause that the log names:",
        "",
        f"  {source}, line {first.line_number}: {first.text}",
        *led_to,
        "",
        f"next: {_ECHO_NEXT if first.is_echo else UNKNOWN_NEXT}",
    ]


def _render_health(diagnosis: Diagnosis, source: str) -> list[str]:
    count = diagnosis.line_count
    if not count:
        return [f"{source} is empty"]
    if diagnosis.served_line is None:
        return [f"{source} names no failure ({count} line{'s' if count > 1 else ''})"]
    return [
        f"{source} names no failure since the engine serves (line {diagnosis.served_line} of {count})",
        *(f"before that (line {item.line_number}): {item.cause}" for item in diagnosis.before),
    ]


def build_rows() -> list[tuple[str, str, str, str]]:
    """Give every entry of the catalogue: id, what is seen, cause, next."""
    return [
        (entry.id, entry.seen, _GROUP.sub("…", entry.causes[-1]), _GROUP.sub("…", entry.steps[-1]))
        for entry in load_catalogue()
    ]


def render_entries(width: int = 100) -> list[str]:
    """Give every entry of the catalogue as paragraphs of a width."""
    lines: list[str] = []
    for name, *texts in build_rows():
        lines += ["", name] if lines else [name]
        for word, text in zip(("seen", "cause", "next"), texts, strict=True):
            lines += wrap_paragraph(text, max(width, 40), f"  {word:5}  ", " " * 9)
    return lines


def build_list_document() -> dict[str, Any]:
    """Give the JSON document of the catalogue."""
    entries = zip(load_catalogue(), build_rows(), strict=True)
    return {
        "schema_version": SCHEMA_VERSION,
        "failures": [
            {"id": row[0], "where": entry.where, "seen": row[1], "cause": row[2], "next": row[3]}
            | {"versions": entry.versions}
            for entry, row in entries
        ],
    }


def render_markdown() -> str:
    """Give the catalogue as a Markdown table."""
    rows = [" | ".join(cell.replace("|", "\\|") for cell in row[1:]) for row in build_rows()]
    return "\n".join(["| What is seen | Cause | Next |", "| --- | --- | --- |", *(f"| {row} |" for row in rows)])


def _build_failure(known: Explained) -> dict[str, Any]:
    return {
        "id": known.id,
        "where": known.where,
        "cause": known.cause,
        "next": known.next,
        "line": known.line,
        "line_number": known.line_number,
    }
