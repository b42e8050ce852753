"""A run as one HTML page that needs nothing beside it: no script, no font, no address of anybody."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack.history.chart import Chart

_TEMPLATES = Path(__file__).with_name("templates")
# HTML has no way to write these, and some turn text around: https://trojansource.codes.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True)
class CheckRow:
    """One line of the table of checks."""

    status: str
    check: str
    seconds: str
    message: str
    hint: str | None = None


@dataclass(frozen=True)
class Page:
    """What a page shows, in its order; what is empty has no section.

    Attributes:
        project: The project.
        name: The run's name.
        verdict: `passed`, `failed` or `unfinished`.
        summary: How it ended, in words.
        commit: The vLLM commit, or that it is unknown; None where no boot is known.
        level: How far that commit can be trusted.
        rests_on: What it rests on.
        facts: What else names the run.
        checks: The checks.
        charts: Headings and drawings.
        argv: The engine's command line.
        host: What it ran on.
        lock: The beginning of stack.lock.
        figures: Key figures of a report that is not known in more detail.
        details: The whole of such a report.
        written: When and by what the page was written.
    """

    project: str
    name: str
    verdict: str
    summary: str
    commit: str | None
    level: str
    rests_on: str | None
    facts: Sequence[tuple[str, str]]
    checks: Sequence[CheckRow]
    charts: Sequence[tuple[str, Chart]]
    argv: Sequence[str]
    host: Sequence[tuple[str, str]]
    lock: str | None
    figures: Sequence[tuple[str, str]]
    details: str | None
    written: str


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: What it says.
        role: A class of the style: `number`, or `status` with `pass`, `fail`, `warn` or `skip` behind it.
        ratio: A share from 0 to 1 to draw below the text, or None.
    """

    text: str
    role: str = ""
    ratio: float | None = None


@dataclass(frozen=True)
class Table:
    """A table with its heading, and a sentence above it or an empty one."""

    heading: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    text: str = ""


@dataclass(frozen=True)
class TablesPage:
    """A page of tables, in the skeleton of a run's.

    Attributes:
        project: The project.
        name: What it is a report of.
        verdict: `passed`, `failed` or `unfinished`.
        summary: The verdict in words.
        facts: What else names it.
        notes: What must be known to read the tables right.
        tables: The tables.
        written: When and by what the page was written.
    """

    project: str
    name: str
    verdict: str
    summary: str
    facts: Sequence[tuple[str, str]]
    notes: Sequence[str]
    tables: Sequence[Table]
    written: str


def render_page(page: Page) -> str:
    """Give the page as HTML; every text in it is escaped."""
    return str(_load_template("report.html").render(page=page))


def render_tables_page(page: TablesPage) -> str:
    """Give the page as HTML; every text in it is escaped."""
    return str(_load_template("tables.html").render(page=page))


@functools.cache
def _load_template(name: str) -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_clean,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name)


def _clean(value: Any) -> Any:
    return _UNSAFE.sub("\ufffd", value) if isinstance(value, str) else value
