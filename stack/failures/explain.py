"""What a log or an error text tells, by the catalogue. Pure.

A log is read once, line by line, whatever its length. Several entries may fit: the earliest line that fits one
counts, and lines that tell little by themselves (`general`) count only where nothing else fits.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from stack.failures.catalogue import Entry, load_catalogue
from stack.failures.first_cause import SERVING, Cause, CauseFinder
from stack.failures.line_matcher import LineMatcher
from stack.failures.log_lines import LogLine, parse_lines

_GROUP_CHARS = 200
_LINE_CHARS = 400
_TOKEN = re.compile(r"\b(hf_|sk-)[A-Za-z0-9_-]{8,}")

Vocabularies = Mapping[str, Collection[str]]
"""Names by kind, such as the engine's flags, among which the nearest to a wrong one is looked for."""


@dataclass(frozen=True)
class Explained:
    """A known failure, as a log told it.

    Attributes:
        id: The entry's name.
        where: Who said it.
        cause: What is wrong, without a final period.
        next: What to do next.
        line: The line that told it.
        line_number: Where that stands, from 1.
        also: Other failures that the log tells, nearest to the cause first.
    """

    id: str
    where: str
    cause: str
    next: str
    line: str
    line_number: int
    also: tuple[Explained, ...] = ()


@dataclass(frozen=True)
class Diagnosis:
    """What a log tells.

    Attributes:
        explained: The known failure, or None.
        first_cause: What the log names first, or None where it names nothing.
        line_count: How many lines were read.
        served_line: Where an engine said last that it serves; None where none did. Only what comes later is told.
        before: Known failures that stand before that line: an earlier start's, or what was tried again and went well.
    """

    explained: Explained | None
    first_cause: Cause | None
    line_count: int
    served_line: int | None = None
    before: tuple[Explained, ...] = ()


def diagnose(lines: Iterable[str], vocabularies: Vocabularies | None = None) -> Diagnosis:
    """Read a log once and give what it tells; memory does not grow with the log."""
    reading = _Reading()
    for line in parse_lines(lines):
        reading.add(line)
    return reading.finish(vocabularies or {})


def explain_lines(lines: Iterable[str], vocabularies: Vocabularies | None = None) -> Explained | None:
    """Give the known failure that a log tells, or None."""
    return diagnose(lines, vocabularies).explained


def explain_text(text: str) -> Explained | None:
    """Give the known failure that a program reported in these words, or None."""
    return explain_lines(text.splitlines())


@dataclass(frozen=True)
class _Found:
    entry: Entry
    order: int
    near_number: int
    line: LogLine
    match: re.Match[str]


class _Reading:
    def __init__(self) -> None:
        self._ending = [item for item in enumerate(load_catalogue()) if item[1].is_last]
        self._told = LineMatcher()
        self._finder = CauseFinder()
        self._found: dict[str, _Found] = {}
        self._before: dict[str, _Found] = {}
        self._settled: set[str] = set()
        self._last: LogLine | None = None
        self._served_line: int | None = None

    def add(self, line: LogLine) -> None:
        if SERVING.search(line.text):
            # What the engine served in spite of is the cause of nothing that came later.
            self._before, self._found = {**self._before, **self._found}, {}
            self._settled.clear()
            self._served_line = line.number
        self._finder.add(line)
        text = line.text
        if not text.strip():
            return
        self._last = line
        for order, entry in self._told.list_candidates(line):
            if entry.id not in self._settled:
                self._try(order, entry, line)

    def finish(self, vocabularies: Vocabularies) -> Diagnosis:
        if self._last is not None and not self._found:
            for order, entry in self._ending:
                self._try(order, entry, self._last)
        told, before = (
            [_build(item, vocabularies) for item in _drop_same_line(sorted(found.values(), key=_rank))]
            for found in (self._found, self._before)
        )
        explained = replace(told[0], also=tuple(told[1:])) if told else None
        line_count = self._last.number if self._last else 0
        return Diagnosis(explained, self._finder.find(), line_count, self._served_line, tuple(before))

    def _try(self, order: int, entry: Entry, line: LogLine) -> None:
        match = entry.search(line.text)
        if match is None:
            return
        known = self._found.get(entry.id)
        if known is None:
            known = _Found(entry, order, self._told.find_near(entry), line, match)
        # The first line tells where; what it leaves open (which model, how much) a later one may fill.
        self._found[entry.id] = replace(known, match=match)
        if any(match.groupdict().values()) or not any(pattern.regex.groups for pattern in entry.patterns):
            self._settled.add(entry.id)


def _rank(found: _Found) -> tuple[bool, int, int, int]:
    # On one line: what was spoken of last before it, then the entry that comes first in the file.
    return found.entry.is_general, found.line.number, -found.near_number, found.order


def _drop_same_line(ranked: Iterable[_Found]) -> list[_Found]:
    kept: dict[int, _Found] = {}
    for item in ranked:
        kept.setdefault(item.line.number, item)
    return list(kept.values())


def _build(found: _Found, vocabularies: Vocabularies) -> Explained:
    entry = found.entry
    values = {name: value.strip()[:_GROUP_CHARS] for name, value in found.match.groupdict().items() if value}
    if entry.nearest is not None:
        group, vocabulary = entry.nearest
        near = difflib.get_close_matches(values.get(group, ""), vocabularies.get(vocabulary, ()), n=1)
        values |= {"nearest": near[0]} if near else {}
    if entry.quotient is not None and all(group in values for group in entry.quotient):
        dividend, divisor = (float(values[group]) for group in entry.quotient)
        values |= {"fits": f"{math.floor(100 * dividend / divisor) / 100:.2f}"} if divisor else {}
    return Explained(
        id=entry.id,
        where=entry.where,
        cause=_fill(entry.causes, values),
        next=_fill(entry.steps, values),
        line=_TOKEN.sub(r"\1***", found.line.text.strip())[:_LINE_CHARS],
        line_number=found.line.number,
    )


def _fill(templates: tuple[str, ...], values: Mapping[str, str]) -> str:
    for template in templates[:-1]:
        try:
            return template.format_map(values)
        except KeyError:
            continue
    return templates[-1].format_map(values)
