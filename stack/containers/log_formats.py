"""The services' log lines, each in its own form, read into the same parts. Pure.

Source: Prometheus, Alertmanager, node-exporter and Grafana write logfmt (Go's `log/slog` and go-kit), nginx its error
log and this project's JSON access log, torch Google's short form (`[W1121 22:05:35.059994127 utils.cpp:41]`).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from stack.failures.log_json import name_level
from stack.failures.log_lines import LogLine, parse_line

_LOGFMT = re.compile(r"(?:ts|time|t|level|lvl|logger|caller|source|msg)=")
_PAIR = re.compile(r'([A-Za-z_][\w.-]*)=(?:"((?:[^"\\]|\\.)*)"|(\S*))')
_NGINX = re.compile(
    r"(?P<time>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) \[(?P<level>[a-z]+)\] (?P<process>\d+)#\d+: (?P<text>.*)"
)
_TORCH = re.compile(r"\[(?P<level>[IWEF])\d{4} \d\d:\d\d:\d\d\.\d+ (?P<source>[^\]]+)\] (?P<text>.*)")
_TORCH_LEVELS = {"I": "INFO", "W": "WARNING", "E": "ERROR", "F": "CRITICAL"}
_PYTHON = re.compile(r"(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL):(?P<logger>[\w.]+):(?P<text>.*)")
# `site-packages/x.py:138: FutureWarning: …`; the line after it shows the code.
_PYTHON_WARNING = re.compile(r"\S+\.py:\d+: \w*Warning: ")
# What ends a program without any logger: `sh`, argparse, Python and the C++ library.
_FATAL = re.compile(
    r"Traceback \(most recent call last\)|Fatal Python error: |terminate called |serve\.sh: error: "
    r"|(?:\w+\.py|vllm(?: \w+)*): error: |(?:/bin/)?(?:ba)?sh: .*(?:not found|No such file)|Segmentation fault"
)
_REQUEST = re.compile(
    r"(?:Added|Received) request (?P<one>\S+?)(?:[.:](?:\s|$))"
    r"|Aborted request\(s\) (?P<several>\S+?)\.?$|Aborted request (?P<aborted>\S+?)\.?$"
    r"|Finished request (?P<finished>\S+?)\.?$"
    r"|Request (?P<told>\S+) (?:aborted|failed|details|JSON body|finished)"
    r"|Generated response (?P<answered>\S+?)(?: \(|:|\s)"
)


@dataclass(frozen=True)
class ParsedLine:
    """A line of any service.

    Attributes:
        line: Its parts.
        is_fatal: Whether it tells the end of a program that had no logger for it.
        request_ids: The requests that it names.
    """

    line: LogLine
    is_fatal: bool = False
    request_ids: tuple[str, ...] = ()


def parse_service_line(text: str, number: int = 1) -> ParsedLine:
    """Give the parts of a service's line, whatever its form; of an unknown form all is message."""
    line = parse_line(text, number)
    if line.level is None and not line.is_json:
        for parse in (_parse_logfmt, _parse_nginx, _parse_access, _parse_other):
            found = parse(line)
            if found is not None:
                return found
    return ParsedLine(line, request_ids=find_request_ids(line.text))


def find_request_ids(message: str) -> tuple[str, ...]:
    """Give the ids of the requests that vLLM tells of in a message.

    Source: vLLM 0.6 to 0.32, entrypoints/…/request_logger.py (`entrypoints/logger.py` before) and
    v1/engine/async_llm.py.
    """
    if "equest" not in message and "Generated response" not in message:
        return ()
    found = _REQUEST.search(message)
    if found is None:
        return ()
    return tuple(name for name in (found[found.lastgroup or 0] or "").split(",") if name)


def _parse_logfmt(line: LogLine) -> ParsedLine | None:
    if not _LOGFMT.match(line.text):
        return None
    pairs = {name: (quoted or plain).replace('\\"', '"') for name, quoted, plain in _PAIR.findall(line.text)}
    level = name_level(pairs.get("level") or pairs.get("lvl") or "")
    if level is None:
        return None
    time = line.time or pairs.get("ts") or pairs.get("time") or pairs.get("t") or ""
    source = pairs.get("caller") or pairs.get("source") or ""
    return ParsedLine(LogLine(line.number, line.text, level, "", time, source, pairs.get("logger", "")))


def _parse_nginx(line: LogLine) -> ParsedLine | None:
    found = _NGINX.match(line.text)
    level = name_level(found["level"]) if found else None
    if found is None or level is None:
        return None
    return ParsedLine(LogLine(line.number, found["text"], level, found["process"], line.time or found["time"]))


def _parse_access(line: LogLine) -> ParsedLine | None:
    if not line.text.startswith('{"time"'):
        return None
    try:
        document = json.loads(line.text)
        status, said = int(document["status"]), f"{document['method']} {document['path']}"
    except (ValueError, KeyError, TypeError):
        return None
    level = "ERROR" if status >= 500 else "WARNING" if status >= 400 else "INFO"
    name = document.get("request_id")
    read = LogLine(line.number, f"{said} {status}", level, "", line.time or str(document["time"]), is_json=True)
    return ParsedLine(read, request_ids=(name,) if isinstance(name, str) and name else ())


def _parse_other(line: LogLine) -> ParsedLine | None:
    if found := _TORCH.match(line.text):
        level = _TORCH_LEVELS[found["level"]]
        return ParsedLine(LogLine(line.number, found["text"], level, line.process, line.time, found["source"]))
    if found := _PYTHON.match(line.text):
        read = LogLine(line.number, found["text"], found["level"], line.process, line.time, "", found["logger"])
        return ParsedLine(read, request_ids=find_request_ids(found["text"]))
    if _PYTHON_WARNING.match(line.text):
        return ParsedLine(LogLine(line.number, line.text, "WARNING", line.process, line.time))
    return ParsedLine(line, is_fatal=True) if _FATAL.match(line.text) else None
