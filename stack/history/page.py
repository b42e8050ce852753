"""A report as one HTML page that needs nothing beside it: no script, no font, no address of anybody."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stack.history.chart import Chart
from stack.history.plot import Plots

Role = Literal["pass", "fail", "warn", "skip"]
_NARROW = 3
_TEMPLATES = Path(__file__).with_name("templates")
# HTML has no way to write these, and some turn text around: https://trojansource.codes.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: What it says.
        role: A class of the style: `name` for what the row is about, `number`, `hash` for what may be
            broken anywhere, or `status` with a `Role` behind.
        note: What stands below the text, or None.
        share: What is left of something, from 1 for all of it down to 0, to be drawn below the text; less where more
            than all is spent; None where nothing is drawn.
    """

    text: str
    role: str = ""
    note: str | None = None
    share: float | None = None


@dataclass(frozen=True)
class Table:
    """A table with its heading, and a sentence below that or an empty one; without a header it is of pairs."""

    heading: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    text: str = ""

    @property
    def look(self) -> str:
        """Give its class of the style: on a narrow screen, rows of many cells become blocks."""
        if not self.header:
            return "pairs"
        return "checks" if "status" in self.rows[0][0].role else "wide" if len(self.header) > _NARROW else "plain"


Section = Table | Chart | Plots


@dataclass(frozen=True)
class Reason:
    """Why something failed, and what to do next or None."""

    text: str
    hint: str | None = None


@dataclass(frozen=True)
class Page:
    """What a page shows, in its order; what is empty has no place on it.

    Attributes:
        project: The project.
        name: What it is a report of: the run's name.
        verdict: How it ended, in one word.
        role: What colour that has.
        summary: How it ended, in a sentence.
        commit: The vLLM commit, or that it is unknown; None where no boot is known.
        level: How far that commit can be trusted.
        rests_on: What it rests on.
        reasons: Why it failed.
        facts: What else names it.
        notes: What must be known to read the sections right.
        sections: Tables and drawings.
        argv: The engine's command line, an argument with its value a line.
        host: What it ran on.
        lock: The beginning of stack.lock.
        details: The whole report of a run, as JSON.
        written: When and by what the page was written.
    """

    project: str
    name: str
    verdict: str
    role: Role
    summary: str
    written: str
    commit: str | None = None
    level: str = "unknown"
    rests_on: str | None = None
    reasons: Sequence[Reason] = ()
    facts: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    sections: Sequence[Section] = ()
    argv: Sequence[str] = ()
    host: Sequence[tuple[str, str]] = ()
    lock: str | None = None
    details: str | None = None


@dataclass(frozen=True)
class Told:
    """What a kind of run gives to its page; the fields are those of `Page`."""

    summary: str
    reasons: Sequence[Reason] = ()
    facts: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    sections: Sequence[Section] = ()


def build_pairs(heading: str, rows: Sequence[tuple[str, str]]) -> Table:
    """Give names with their values as a table."""
    return Table(heading, (), [(Cell(name, "name"), Cell(text)) for name, text in rows])


def render_page(page: Page) -> str:
    """Give the page as HTML; every text in it is escaped."""
    return str(_load_template().render(page=page))


@functools.cache
def _load_template() -> Any:
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
    return environment.get_template("page.html")


def _clean(value: Any) -> Any:
    # What a macro gives has been here already, and must stay marked as HTML.
    return _UNSAFE.sub("\ufffd", value) if isinstance(value, str) and not hasattr(value, "__html__") else value
