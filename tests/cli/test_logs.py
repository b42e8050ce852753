"""`stack logs`: what is printed of the lines that are found."""

from __future__ import annotations

import datetime
import json

import pytest

from stack.containers.log_records import RawLine, group_lines
from stack.operations.logs import run as logs
from stack.operations.logs.select import LogEntry

NOON = datetime.datetime(2026, 11, 22, 12, tzinfo=datetime.UTC)
EVERY_CONTROL = "".join(map(chr, (*range(9), *range(11, 32), *range(0x7F, 0xA0), 0x2028, 0x202E)))


@pytest.fixture
def asked(monkeypatch):
    """The queries that were made; each is answered with a line that holds every control character."""
    queries = []

    def read_entries(session, query, *, follow):
        queries.append(query)
        lines = [RawLine(f"INFO:     é {EVERY_CONTROL} end", NOON)]
        return iter([LogEntry("engine", line) for line in group_lines(lines)])

    monkeypatch.setattr(logs, "read_entries", read_entries)
    return queries


def test_json_stays_json_whatever_a_line_holds(invoke, asked):
    (line,) = invoke("logs", "--json").stdout.splitlines()
    assert json.loads(line)["raw"] == f"INFO:     é {EVERY_CONTROL} end"


def test_text_shows_control_characters_escaped(invoke, asked):
    shown = invoke("logs").stdout
    assert "\\x1b" in shown and "\\x85" in shown and "\x85" not in shown


def test_every_option_reaches_the_query(invoke, asked):
    invoke("logs", "--lines", "3", "--level", "error", "--request-id", "a", "--since", "2026-11-22T12:00:00+00:00")
    invoke("logs", "grafana", "--labels")
    first, second = asked
    assert (first.service, first.lines, first.level, first.request_id) == ("engine", 3, "ERROR", "a")
    assert (first.since, first.until, first.boot, first.is_labelled) == (NOON, None, "all", False)
    assert (second.service, second.level, second.boot, second.is_labelled) == ("grafana", None, None, True)
