"""Reads stack.toml: its text, its tables, and the line on which each key stands."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stack.errors import ConfigError, Problem

_POSITION = re.compile(r" \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)$")
_PART = r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)"""
_NAME = rf"{_PART}(?:\s*\.\s*{_PART})*"
_HEADER = re.compile(rf"\s*\[{{1,2}}\s*({_NAME})\s*\]")
_ASSIGNMENT = re.compile(rf"\s*({_NAME})\s*=")


@dataclass(frozen=True)
class TomlSource:
    """A stack.toml that was read.

    Attributes:
        path: The file.
        tables: What is in it.
        lines: The line of each key and table that could be found, counted from 1.
    """

    path: Path
    tables: dict[str, Any]
    lines: dict[tuple[str, ...], int] = field(default_factory=dict)

    def locate(self, path: tuple[str, ...]) -> str:
        """Give file and line of a key (`stack.toml:3`), or the file where the line is not known."""
        for length in range(len(path), 0, -1):
            if line := self.lines.get(path[:length]):
                return f"{self.path.name}:{line}"
        return self.path.name


def load_toml(path: Path) -> TomlSource:
    """Read a stack.toml.

    Raises:
        ConfigError: It cannot be read or is no TOML; says line and column.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as err:
        message = f"is not UTF-8 text (byte {err.start})"
        raise ConfigError([Problem(str(path), message)]) from err
    except FileNotFoundError as err:
        raise ConfigError([Problem(str(path), "does not exist")]) from err
    except OSError as err:
        raise ConfigError([Problem(str(path), f"cannot be read: {err.strerror}")]) from err
    return parse_toml(text, path)


def parse_toml(text: str, path: Path) -> TomlSource:
    """Turn the text of a stack.toml into tables.

    Raises:
        ConfigError: The text is no TOML; says line and column.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as err:
        raise ConfigError([_describe_syntax_error(err, text, path)]) from err
    except RecursionError as err:
        raise ConfigError([Problem(str(path), "is nested too deeply")]) from err
    return TomlSource(path, tables, locate_keys(text))


def _describe_syntax_error(err: tomllib.TOMLDecodeError, text: str, path: Path) -> Problem:
    said = str(err)
    match = _POSITION.search(said)
    if match is None:
        return Problem(str(path), f"is no TOML: {said}")
    message = said[: match.start()]
    lines = text.splitlines() or [""]
    number = int(match["line"] or len(lines))
    column = int(match["column"] or len(lines[-1]) + 1)
    line = lines[number - 1].strip() if number <= len(lines) else ""
    if message == "Invalid value" and re.search(r"=\s*[A-Za-z~/]", line):
        message += "; text needs quotes"
    shown = f": `{line[:80]}`" if line and not re.search(r"token|secret|password|api.?key|hf_", line, re.I) else ""
    return Problem(f"{path}:{number}:{column}", f"{message}{shown}")


def locate_keys(text: str) -> dict[tuple[str, ...], int]:
    """Give the line of each key, as far as reading line by line finds it (not inside inline tables)."""
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = _split_name(header[1])
            lines.setdefault(table, number)
        elif assignment := _ASSIGNMENT.match(line):
            path = table + _split_name(assignment[1])
            lines.setdefault(path, number)
    return lines


def _split_name(name: str) -> tuple[str, ...]:
    # A line inside a longer text can look like a key and not be one.
    try:
        value: Any = tomllib.loads(f"{name} = 0")
    except tomllib.TOMLDecodeError:
        return ()
    parts: list[str] = []
    while isinstance(value, dict):
        part, value = next(iter(value.items()))
        parts.append(part)
    return tuple(parts)
