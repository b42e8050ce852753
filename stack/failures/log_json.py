"""A log line that is a JSON document: vLLM's, Uvicorn's and Grafana's records. Pure.

Source: the keys as python-json-logger 2 to 4 names Python's log records (pythonjsonlogger/core.py), with the process
that vLLM 0.32 adds (vllm/logger.py); and those of Go's `log/slog` and Grafana.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_LEVELS = {
    "TRACE": "DEBUG", "DBUG": "DEBUG", "WARN": "WARNING", "ERR": "ERROR", "EROR": "ERROR", "CRIT": "CRITICAL",
    "FATAL": "CRITICAL", "PANIC": "CRITICAL", "NOTICE": "INFO", "ALERT": "CRITICAL", "EMERG": "CRITICAL",
}  # fmt: skip
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
"""Python's names of levels, the least first; every other program's are told by these."""


@dataclass(frozen=True)
class JsonMessage:
    """What a JSON line says.

    Attributes:
        text: The message and behind it the traceback, of one or more lines.
        level: One of `LEVELS`, or None where none is named.
        process: The process as vLLM's text form names it, `(EngineCore pid=21)`, or an empty string.
        time: When, as it is written there.
        source: File and line.
        logger: The logger.
    """

    text: str
    level: str | None
    process: str
    time: str
    source: str
    logger: str


def parse_json_message(text: str) -> JsonMessage | None:
    """Give what a JSON line says, or None where it is no document with a message."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    message = _first(document, "message", "msg") if isinstance(document, dict) else None
    if message is None:
        return None
    parts = [message, *(_first(document, key) for key in ("exc_info", "stack_info"))]
    return JsonMessage(
        text="\n".join(part.rstrip("\n") for part in parts if part).replace("\r", ""),
        level=name_level(_first(document, "levelname", "level") or ""),
        process=_name_process(document),
        time=_first(document, "time", "timestamp", "asctime", "ts", "t") or "",
        source=_name_source(document),
        logger=_first(document, "name", "logger") or "",
    )


def name_level(word: str) -> str | None:
    """Give Python's name of a level that some program calls so, or None where it is no level."""
    upper = word.upper()
    level = _LEVELS.get(upper, upper)
    return level if level in LEVELS else None


def _first(document: Mapping[str, Any], *keys: str) -> str | None:
    return next((document[key] for key in keys if isinstance(document.get(key), str)), None)


def _name_process(document: Mapping[str, Any]) -> str:
    name, number = _first(document, "vllm_process_name", "processName"), document.get("process")
    if name is None or not isinstance(number, int):
        return ""
    return f"({name} pid={number})"


def _name_source(document: Mapping[str, Any]) -> str:
    name, number = _first(document, "filename", "fileinfo"), document.get("lineno")
    return f"{name}:{number}" if name is not None and isinstance(number, int) else ""
