"""What is shown of a log: by level, time, request and boot, with the failures that its lines tell."""

from __future__ import annotations

import datetime
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.containers.log_records import RawLine
from stack.history.records import BootRecord, BootStart
from stack.operations.logs.render import build_entry_document, render_entry
from stack.operations.logs.select import LogQuery, Selector
from stack.operations.logs.sources import Source

NOON = datetime.datetime(2026, 11, 22, 12, tzinfo=datetime.UTC)
SERVER = "(APIServer pid=9) INFO 11-22 12:00:00 [async_llm.py:553] "
CORE = "(EngineCore pid=21) ERROR 11-22 12:00:00 [core.py:1514] "
JSON = (
    '{"levelname": "ERROR", "name": "vllm.x", "processName": "P", "process": 9, "filename": "x.py", "lineno": 7, '
    '"message": "Request cmpl-a-0 failed", "exc_info": "Traceback (most recent call last):\\nValueError: x", '
    '"vllm_process_name": "APIServer", "time": "2026-11-22T12:00:03.5+00:00"}'
)


STEP = datetime.timedelta(seconds=4)


def build_boot(number, steps=0):
    start = BootStart(
        "k", NOON + steps * STEP, "f" * 40, "verified", "0.32.0", None, "sha256:1",
        "org/model", "a" * 40, "cpu",
    )  # fmt: skip
    return BootRecord(number, start, "warm", 1.0, "ready", {})


def select(lines, boots=(), **query):
    """Give what is selected of lines that come a step apart."""
    selector = Selector(Source("engine", NOON, boots=boots), LogQuery(**query))
    raws = [RawLine(text, NOON + number * STEP) for number, text in enumerate(lines)]
    return [entry for raw in raws for entry in selector.add(raw)]


def texts(entries):
    return [entry.line.line.text for entry in entries]


LINES = [
    SERVER + "Added request chatcmpl-a-0.", "of a", SERVER + "Added request chatcmpl-ab-0.", "of ab",
    "INFO:     x", CORE + "failed", CORE + "Traceback (most recent call last):", CORE + "  in request a", "INFO:     y",
]  # fmt: skip


def test_without_a_question_everything_is_shown():
    assert texts(select(LINES))[:2] == ["Added request chatcmpl-a-0.", "of a"]
    assert len(select(LINES)) == len(LINES)


def test_a_level_shows_whole_records():
    assert texts(select(LINES, level="WARNING")) == ["failed", "Traceback (most recent call last):", "  in request a"]


def test_a_request_shows_whole_records_also_where_a_later_line_names_it():
    assert texts(select(LINES, request_id="a")) == [
        "Added request chatcmpl-a-0.", "of a", "failed", "Traceback (most recent call last):", "  in request a",
    ]  # fmt: skip
    assert texts(select(LINES, request_id="chatcmpl-ab-0")) == ["Added request chatcmpl-ab-0.", "of ab"]
    assert texts(select(LINES, request_id="553")) == []


def test_times_are_those_of_records_and_both_ends_belong():
    shown = texts(select(LINES, since=NOON + 2 * STEP, until=NOON + 4 * STEP))
    assert shown == ["Added request chatcmpl-ab-0.", "of ab", "INFO:     x"]


def test_a_line_of_a_form_that_nobody_knows_is_never_dropped_for_its_level_or_time():
    selector = Selector(Source("engine", None), LogQuery(level="CRITICAL", since=NOON))
    assert texts(selector.add(RawLine("what is this"))) == ["what is this"]


def test_one_boot_of_a_container_that_was_started_twice():
    boots = (build_boot(3), build_boot(4, steps=5))
    assert [entry.boot.id for entry in select(LINES, boots)] == [3] * 5 + [4] * 4
    assert texts(select(LINES, boots, boot=4))[0] == "failed"
    assert select(LINES, boots, boot="last") == select(LINES, boots, boot=4)
    assert select(LINES, boots, boot="all") == select(LINES, boots)
    assert texts(select(["before any boot"], (build_boot(3, steps=9),))) == ["before any boot"]


@given(
    st.lists(st.sampled_from([*LINES, JSON, "", "Traceback (most recent call last):"])),
    st.sampled_from([{"request_id": "a"}, {"level": "ERROR"}, {"since": NOON + 3 * STEP}]),
)
def test_what_is_selected_is_part_of_the_log_in_its_order_and_never_half_a_record(lines, query):
    whole, shown = select(lines), select(lines, **query)
    records = {entry.line.record for entry in shown}
    assert [entry.line for entry in shown if entry.line.record in records] == [
        entry.line for entry in whole if entry.line.record in records
    ]


def test_failures_are_looked_for_only_where_they_are_shown():
    said = CORE + "No available memory for the cache blocks. Try increasing it"
    assert [entry.failure for entry in select([said])] == [None]
    labelled = select([SERVER + "fine", said, said], is_labelled=True)
    assert [entry.failure for entry in labelled] == [None, "no-kv-memory", "no-kv-memory"]


def test_labels_and_names_stand_before_each_line():
    (entry,) = select([CORE + "No available memory for the cache blocks."], (build_boot(3),), is_labelled=True)
    label = f"[boot-3 org/model@{'a' * 12} {'f' * 12} no-kv-memory]"
    assert render_entry(entry, is_labelled=True) == [f"{label} {entry.line.raw}"]
    assert render_entry(entry, is_named=True) == [f"engine        | {entry.line.raw}"]


def test_a_json_record_is_shown_as_vllms_text_would_be():
    (entry,) = select([JSON], request_id="a")
    prefix = "(APIServer pid=9) ERROR 11-22 12:00:00 [x.py:7] "
    assert render_entry(entry) == [
        prefix + "Request cmpl-a-0 failed", prefix + "Traceback (most recent call last):", prefix + "ValueError: x",
    ]  # fmt: skip


def test_the_document_of_a_line():
    (entry, *_) = select([JSON], (build_boot(3),), request_id="a", is_labelled=True)
    assert build_entry_document(entry, "a") == {
        "schema_version": 1, "time": "2026-11-22T12:00:00.000000Z", "level": "error", "service": "engine", "boot": 3,
        "model": "org/model", "revision": "a" * 40, "commit": "f" * 40, "version": "0.32.0", "continues": False,
        "request_id": "cmpl-a-0", "failure": None, "process": "(APIServer pid=9)", "logger": "vllm.x",
        "source": "x.py:7", "message": "Request cmpl-a-0 failed\nTraceback (most recent call last):\nValueError: x",
        "raw": JSON,
    }  # fmt: skip


def test_of_several_requests_the_one_that_was_asked_for_is_named():
    (entry,) = select([SERVER + "Aborted request(s) cmpl-a-0,cmpl-b-0."], request_id="b")
    assert build_entry_document(entry, "b")["request_id"] == "cmpl-b-0"
    assert build_entry_document(entry)["request_id"] == "cmpl-a-0"


@pytest.mark.parametrize(
    ("changes", "label"),
    [({"commit": None}, "0.32.0"), ({"commit": None, "version": None}, "commit-unknown")],
)
def test_what_is_not_known_of_a_commit_is_said(changes, label):
    boot = build_boot(3)
    boot = replace(boot, start=replace(boot.start, model="/data/models/mine", revision=None, **changes))
    (entry,) = select(["x"], (boot,))
    assert render_entry(entry, is_labelled=True) == [f"[boot-3 mine {label}] x"]
