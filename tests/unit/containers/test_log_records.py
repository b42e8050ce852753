"""Lines grouped into records: recorded logs, and any lines at all."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.containers.log_records import LineGrouper, RawLine, group_lines, is_at_least, read_time
from stack.containers.log_stream import parse_stamped

LOGS = Path(__file__).parents[2] / "fixtures" / "logs"
NOON = datetime.datetime(2026, 11, 22, 12, tzinfo=datetime.UTC)
INFO = "(APIServer pid=9) INFO 11-22 12:00:01 [async_llm.py:553] "
ERROR = "(EngineCore pid=21) ERROR 11-22 12:00:02 [core.py:1514] "
PIECES = st.sampled_from(
    [
        INFO + "Added request a.", INFO, ERROR + "x", ERROR + "  File", ERROR + "Traceback (most recent call last):",
        "Traceback (most recent call last):", "  File x", "ValueError: y", "", "INFO:     Started", "level=info msg=x",
        '{"message": "m", "levelname": "INFO"}', "{", "(", "\t",
    ]
)  # fmt: skip


def group(*texts):
    return [(line.record, line.is_first, line.level) for line in group_lines([RawLine(text) for text in texts], NOON)]


@given(st.lists(st.tuples(st.one_of(PIECES, st.text(st.characters(exclude_characters="\n\r"))), st.booleans())))
def test_no_line_is_lost_and_their_order_is_kept(lines):
    grouper = LineGrouper(NOON)
    found = [grouper.add(RawLine(text + "\r" * is_part)) for text, is_part in lines]
    assert [line.raw for line in found] == [text for text, _ in lines]
    assert [line.line.number for line in found] == list(range(1, len(lines) + 1))
    firsts = [line.record for line in found if line.is_first]
    assert firsts == list(range(1, len(firsts) + 1))
    for before, line in zip([None, *found], found, strict=False):
        # What has no level is never a record of its own, unless it is the first or ends a program.
        if before is not None and not line.is_first:
            assert (line.record, line.level, line.at) == (before.record, before.level, before.at)
        else:
            assert before is None or line.level is not None or line.line.is_json


@pytest.mark.parametrize("path", sorted(LOGS.rglob("*.log")), ids=lambda path: path.stem)
def test_no_line_of_a_recorded_log_of_any_version_is_lost(path):
    lines = path.read_bytes().decode(errors="replace").split("\n")
    found = list(group_lines(map(RawLine, lines), NOON))
    assert [line.raw for line in found] == [line.strip("\r") for line in lines]
    # A traceback is never hidden from who asks for errors.
    told = "\n".join(line.raw for line in found if is_at_least(line.level, "ERROR"))
    assert ("Traceback (most recent call last)" in told) == any("Traceback (most recent call last)" in x for x in lines)


def test_a_recorded_boot_falls_into_its_records():
    text = (LOGS / "vllm-0.32.0-cpu-eager.log").read_bytes().decode()
    found = list(group_lines([RawLine(line) for line in text.split("\n")]))
    records = {}
    for line in found:
        records.setdefault(line.record, []).append(line.line.text)
    several = {lines[0].strip(): len(lines) for lines in records.values() if len(lines) > 1}
    assert several["OpenMP thread binding info:"] == 6
    assert len([lines for lines in records.values() if lines[0].startswith("Route: ")]) == 35
    assert found[-2].at == datetime.datetime(2026, 11, 21, 22, 5, 59, 229534, tzinfo=datetime.UTC)
    assert {line.level for line in found} == {None, "INFO", "WARNING"}
    assert sum(line.level is None for line in found) == 1


def test_a_recorded_boot_in_json_falls_into_its_records_too():
    # Recorded from the CPU engine with `log-format = "json"` and `enable-log-requests`; one client hung up.
    lines = (LOGS / "vllm-0.31.0-cpu-json.log").read_bytes().splitlines()
    found = list(group_lines(map(parse_stamped, lines)))
    assert sum(line.line.is_json for line in found) == 91
    assert [line.line.text for line in found if not line.is_first and line.line.is_json] == []
    assert {name for line in found for name in line.request_ids} > {
        "chatcmpl-first-question", "chatcmpl-first-question-b78b7516", "cmpl-hung-up-0", "cmpl-hung-up-0-9860124f",
    }  # fmt: skip
    assert {line.line.process for line in found if line.line.is_json} == {
        "(APIServer pid=9)", "(EngineCore pid=163)", "(Worker pid=239)", "(VllmWorker-0 pid=239)",
    }  # fmt: skip


def test_tracebacks_of_a_recorded_failure_are_errors_to_their_last_line():
    text = (LOGS / "vllm-0.32.0-cpu-shm-too-small.log").read_bytes().decode()
    found = list(group_lines([RawLine(line) for line in text.split("\n")]))
    errors = [line for line in found if line.level == "ERROR"]
    firsts = [line.line.text for line in errors if line.is_first]
    assert firsts == [
        "Traceback (most recent call last):", "EngineCore failed to start.", "Traceback (most recent call last):",
    ]  # fmt: skip
    assert sum(line.line.text.startswith("RuntimeError: ") for line in errors) == 3


def test_a_log_kept_without_carriage_returns_still_shows_its_tracebacks():
    assert group(ERROR + "failed", ERROR + "Traceback (most recent call last):", ERROR + "  File", ERROR + "E: x") == [
        (1, True, "ERROR"), (1, False, "ERROR"), (1, False, "ERROR"), (1, False, "ERROR"),
    ]  # fmt: skip


def test_a_line_without_a_level_that_comes_much_later_is_news_of_the_same_level():
    seconds = (0, 1, 5, 11)
    lines = [
        RawLine(text, NOON + datetime.timedelta(seconds=second)) for second, text in zip(seconds, "wxyz", strict=True)
    ]
    found = list(group_lines([RawLine("WARNING:root:x", NOON), *lines]))
    assert [(line.record, line.level) for line in found] == [(1, "WARNING")] * 4 + [(2, "WARNING")]
    assert (found[3].at, found[3].written_at, found[4].at) == (NOON, lines[2].at, lines[3].at)


def test_requests_told_in_one_second_at_one_place_are_records_of_their_own():
    assert group(INFO + "Added request a.", INFO + "Added request b.") == [(1, True, "INFO"), (2, True, "INFO")]
    assert group(INFO + "a of two lines\r", INFO + "second") == [(1, True, "INFO"), (1, False, "INFO")]


def test_a_traceback_behind_an_error_belongs_to_it_and_behind_anything_else_is_an_error():
    assert group("ERROR:    Exception in ASGI application", "Traceback (most recent call last):", "  File") == [
        (1, True, "ERROR"), (1, False, "ERROR"), (1, False, "ERROR"),
    ]  # fmt: skip
    assert group("INFO:     x", "Traceback (most recent call last):", "  File") == [
        (1, True, "INFO"), (2, True, "ERROR"), (2, False, "ERROR"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "near", "moment"),
    [
        ("2026-11-22T08:00:00Z", None, (2026, 11, 22, 8)),
        ("2026-11-22T08:00:00+02:00", None, (2026, 11, 22, 6)),
        ("2026-11-22 08:00:00,5", None, (2026, 11, 22, 8, 0, 0, 500000)),
        ("2026/11/22 08:00:00", None, (2026, 11, 22, 8)),
        ("11-22 12:00:01", NOON, (2026, 11, 22, 12, 0, 1)),
        ("11-22 11:59:00", NOON, (2026, 11, 22, 11, 59)),
        ("01-02 03:04:05", NOON, (2027, 1, 2, 3, 4, 5)),
        ("11-22 12:00:01", None, None),
        ("02-30 12:00:01", NOON, None),
        ("", NOON, None),
        ("yesterday", NOON, None),
    ],
)
def test_times_as_logs_write_them(text, near, moment):
    assert read_time(text, near) == (datetime.datetime(*moment, tzinfo=datetime.UTC) if moment else None)


@pytest.mark.parametrize(
    ("level", "wanted", "is_so"),
    [("WARNING", "WARNING", True), ("INFO", "WARNING", False), ("CRITICAL", "ERROR", True), (None, "CRITICAL", True)],
)
def test_levels_have_an_order_and_none_is_shown_always(level, wanted, is_so):
    assert is_at_least(level, wanted) is is_so
