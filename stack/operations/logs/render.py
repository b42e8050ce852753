"""The lines of `stack logs` as text, with labels, and as JSON documents. Pure."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from stack.history.records import BootRecord
from stack.operations.logs.select import LogEntry

SCHEMA_VERSION = 1
_SERVICE_WIDTH = 13


def render_entry(entry: LogEntry, *, is_labelled: bool = False, is_named: bool = False) -> list[str]:
    """Give an entry as lines of text: what the container wrote, and of a JSON record what vLLM's text would be.

    Args:
        entry: The entry.
        is_labelled: Put the boot, the model, the commit and the known failure before each line.
        is_named: Put the service's name before each line.
    """
    before = f"{entry.service:{_SERVICE_WIDTH}} | " if is_named else ""
    before += f"[{render_labels(entry)}] " if is_labelled else ""
    return [before + line for line in _render_line(entry)]


def _render_line(entry: LogEntry) -> list[str]:
    line = entry.line.line
    # A document without a logger is not vLLM's: it stays as it is.
    if not line.is_json or not line.logger:
        return [entry.line.raw]
    stamp = f"{entry.line.at.astimezone(datetime.UTC):%m-%d %H:%M:%S}" if entry.line.at else ""
    parts = (line.process, line.level, stamp, f"[{line.source}]" if line.source else "")
    prefix = " ".join(part for part in parts if part)
    return [f"{prefix} {text}" for text in line.text.split("\n")]


def render_labels(entry: LogEntry) -> str:
    """Give what a line is labelled with; what is not known is left out."""
    labels = [] if entry.boot is None else _label_boot(entry.boot)
    return " ".join([*labels, *([entry.failure] if entry.failure else [])] or [entry.service])


def _label_boot(boot: BootRecord) -> list[str]:
    start = boot.start
    name = Path(start.model).name if start.model.startswith("/") else start.model
    revision = (start.revision or "").removeprefix("sha256:")[:12]
    commit = start.commit[:12] if start.commit else start.version or "commit-unknown"
    return [f"boot-{boot.id}", f"{name}@{revision}" if revision else name, commit]


def build_entry_document(entry: LogEntry, request_id: str | None = None) -> dict[str, Any]:
    """Give an entry as a JSON document.

    - `time`: when its record began, ISO 8601 in UTC; `level` its level, in lower case.
    - `continues`: whether it continues the record of the line before it.
    - `request_id`: the request that the record names; of several the one that was asked for, else the first.
    - `message`: the text without what vLLM puts before it; `raw`: the line as the container wrote it.
    """
    line, start = entry.line, entry.boot.start if entry.boot else None
    named = [name for name in line.request_ids if request_id is not None and request_id in name]
    return {
        "schema_version": SCHEMA_VERSION,
        "time": _render_time(line.at) if line.at else None,
        "level": line.level.lower() if line.level else None,
        "service": entry.service,
        "boot": entry.boot.id if entry.boot else None,
        "model": start.model if start else None,
        "revision": start.revision if start else None,
        "commit": start.commit if start else None,
        "version": start.version if start else None,
        "continues": not line.is_first,
        "request_id": next(iter([*named, *line.request_ids]), None),
        "failure": entry.failure,
        "process": line.line.process or None,
        "logger": line.line.logger or None,
        "source": line.line.source or None,
        "message": line.line.text,
        "raw": line.raw,
    }


def _render_time(at: datetime.datetime) -> str:
    # To the microsecond, so that `--since` and `--until` take it as it is.
    return at.astimezone(datetime.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
