"""What others put before a log's lines."""

from __future__ import annotations

import pytest

from stack.failures.log_lines import parse_line, parse_lines, parse_message

ERROR = "(EngineCore pid=123) ERROR 11-21 22:05:10 [core.py:12] ValueError: x"


@pytest.mark.parametrize(
    "before",
    [
        "",
        "engine-1  | ",
        "myproject_engine_1 | ",
        "2026-11-21T22:05:10.123456789Z ",
        "[2026-02-24T20:21:58Z] ",
        "2024-10-18 08:39:59 engine-1  | ",
        "engine-1  | 2026-11-21T22:05:10.123456789Z ",
        "2026-11-21T22:05:10.123456789+02:00 stderr F ",
        "qwen1.5  | ",
        "[llm]        | ",
        "│ ",
        "Nov 21 22:05:10 host docker[123]: ",
        "\x1b[36mengine-1  | \x1b[0m",
        "(APIServer pid=1) ",
        "\x1b[0;36m",
    ],
)
def test_the_message_is_found_behind_whatever_stands_before_it(before):
    line = parse_line(before + ERROR)
    assert (line.text, line.level) == ("ValueError: x", "ERROR")
    assert line.process.endswith("pid=123)") or before.startswith("(APIServer")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("ERROR 06-20 16:09:23 llm_engine.py:164] old form", "old form"),
        ("(VllmWorker rank=5 pid=3073)   File \"x\"", "  File \"x\""),
        ("(RayWorkerWrapper pid=4009, ip=10.0.0.1) x", "x"),
        ("[rank0]: Traceback (most recent call last):", "Traceback (most recent call last):"),
        ("(Worker pid=2) [Stage-0] ERROR 03-12 08:22:28 [m.py:800] x", "x"),
        ("│ ERROR 09-27 06:46:46 engine.py:157] drawn in a box      │", "drawn in a box"),
        ("Loading shards:  50% | 1/2", "Loading shards:  50% | 1/2"),
        ("| GPU  Name | a table |", "| GPU  Name | a table |"),
        ("INFO:     Application startup complete.", "INFO:     Application startup complete."),
    ],
)  # fmt: skip
def test_other_forms(line, text):
    assert parse_message(line) == text


def test_uvicorns_level_is_known_and_its_text_left_whole():
    assert parse_line("INFO:     127.0.0.1:1 - x").level == "INFO"
    assert parse_line("RuntimeError: x").level is None


def test_what_carriage_returns_part_are_lines_of_one_number():
    bar = "Loading shards:   0% | 0/2\rLoading shards:  50% | 1/2\rLoading shards: 100% | 2/2\n"
    found = list(parse_lines([bar, "next\r\n"]))
    assert [(line.number, line.text[:22]) for line in found] == [
        (1, "Loading shards:   0% |"), (1, "Loading shards:  50% |"), (1, "Loading shards: 100% |"), (2, "next"),
    ]  # fmt: skip


def test_what_another_process_says_behind_a_bar_is_a_line_of_its_own():
    found = list(parse_lines([f"Loading shards:   0% | 0/2 [00:00<?, ?it/s]{ERROR}"]))
    assert [(line.number, line.text) for line in found][1] == (1, "ValueError: x")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "(APIServer pid=8) INFO 11-21 22:04:17 [api_utils.py:286] non-default args: {}",
            "non-default args: {}",
        ),
        ("(Worker_TP1 pid=34) WARNING 11-21 22:05:35 [cpu.py:1] text", "text"),
        ("(APIServer pid=9) INFO 11-21 22:05:18 [api_utils.py:347] ", ""),
        ("INFO:     Application startup complete.", "INFO:     Application startup complete."),
        ("RuntimeError: x", "RuntimeError: x"),
        ("INFO 11-21 22:04:17 no source here\n", "no source here"),
    ],
)
def test_a_message_is_told_from_what_the_engine_puts_before_it(line, message):
    assert parse_message(line) == message
