"""The catalogue of known failures: their texts, what causes them, and what to do. `catalogue.toml` is its data."""

from __future__ import annotations

import functools
import importlib.resources
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PLACES = ("engine", "daemon", "toolkit", "hub", "registry", "host")


@dataclass(frozen=True)
class Pattern:
    """A text that tells a failure.

    Attributes:
        regex: What is searched for in a line.
        source: Where the text comes from: file and version.
    """

    regex: re.Pattern[str]
    source: str


@dataclass(frozen=True)
class Entry:
    """One failure that is known.

    Attributes:
        id: Its name.
        where: Who says it, one of `PLACES`.
        seen: What one sees, in few words.
        patterns: The texts that tell it.
        causes: What is wrong; of several, the first whose groups the line gave.
        steps: What to do next; of several likewise.
        versions: Where it holds.
        is_general: Whether any other entry counts before it.
        is_quiet: Whether a line that is no error may tell it, too.
        is_last: Whether it is told only by the line that a log ends with.
        near: What must have been said shortly before, or None.
        nearest: A group and the vocabulary in which the nearest name is looked for, or None.
        quotient: Two groups of which the first is divided by the second, or None.
    """

    id: str
    where: str
    seen: str
    patterns: tuple[Pattern, ...]
    causes: tuple[str, ...]
    steps: tuple[str, ...]
    versions: str
    is_general: bool = False
    is_quiet: bool = False
    is_last: bool = False
    near: re.Pattern[str] | None = None
    nearest: tuple[str, str] | None = None
    quotient: tuple[str, str] | None = None

    def search(self, text: str) -> re.Match[str] | None:
        """Give the match of the first pattern that a text fits, or None."""
        for pattern in self.patterns:
            match = pattern.regex.search(text)
            if match:
                return match
        return None


@functools.cache
def load_catalogue() -> tuple[Entry, ...]:
    """Give all entries, in the order of the file: of those that one line fits, the first counts."""
    text = importlib.resources.files("stack.failures").joinpath("catalogue.toml").read_text(encoding="utf-8")
    return tuple(_build_entry(item) for item in tomllib.loads(text)["failure"])


def is_told(name: str, text: str) -> bool:
    """Tell whether a text tells the failure of this name, whatever else it tells."""
    entry = next(entry for entry in load_catalogue() if entry.id == name)
    return any(entry.search(line) for line in text.splitlines())


def _build_entry(item: Mapping[str, Any]) -> Entry:
    near, nearest, quotient = item.get("near"), item.get("nearest"), item.get("quotient")
    return Entry(
        id=item["id"],
        where=item["where"],
        seen=item["seen"],
        patterns=tuple(Pattern(re.compile(one["regex"]), one["source"]) for one in item["patterns"]),
        causes=_as_tuple(item["cause"]),
        steps=_as_tuple(item["next"]),
        versions=item["versions"],
        is_general=item.get("general", False),
        is_quiet=item.get("quiet", False),
        is_last=item.get("last", False),
        near=re.compile(near) if near else None,
        nearest=(nearest["group"], nearest["among"]) if nearest else None,
        quotient=(quotient["dividend"], quotient["divisor"]) if quotient else None,
    )


def _as_tuple(value: str | list[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)
