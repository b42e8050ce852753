"""JSON lines: Python's records as vLLM writes them, older and newer, and what is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stack.failures.explain import diagnose
from stack.failures.log_json import name_level, parse_json_message
from stack.failures.log_lines import parse_line, parse_lines, parse_message

LOG = Path(__file__).parents[2] / "fixtures" / "logs" / "vllm-0.31.0-cpu-json.log"
RECORD = {
    "levelname": "ERROR", "name": "vllm.v1.engine.core", "processName": "EngineCore", "process": 21,
    "filename": "core.py", "lineno": 1514, "message": "EngineCore failed to start.\nTwice.",
    "exc_info": 'Traceback (most recent call last):\n  File "x.py", line 1, in y\n    raise ValueError\nValueError: x',
    "vllm_process_name": "EngineCore_DP0", "time": "2026-11-22T09:14:48.896977+00:00",
}  # fmt: skip


def test_a_record_is_told_with_its_parts_and_its_traceback():
    found = parse_json_message(json.dumps(RECORD))
    assert found.text.split("\n")[:3] == [
        "EngineCore failed to start.", "Twice.", "Traceback (most recent call last):",
    ]  # fmt: skip
    assert found.text.endswith("\nValueError: x")
    assert (found.level, found.process, found.source) == ("ERROR", "(EngineCore_DP0 pid=21)", "core.py:1514")
    assert (found.time, found.logger) == ("2026-11-22T09:14:48.896977+00:00", "vllm.v1.engine.core")


@pytest.mark.parametrize(
    ("document", "level", "time"),
    [
        # vLLM's own JSON form of later versions; python-json-logger's default; Go's slog in JSON; Grafana in JSON.
        ({"asctime": "11-22 08:00:00", "levelname": "INFO", "message": "m"}, "INFO", "11-22 08:00:00"),
        ({"message": "m"}, None, ""),
        ({"time": "2026-11-22T08:00:00Z", "level": "WARN", "msg": "m"}, "WARNING", "2026-11-22T08:00:00Z"),
        ({"t": "2026-11-22T08:00:00Z", "level": "eror", "msg": "m"}, "ERROR", "2026-11-22T08:00:00Z"),
    ],
)
def test_other_programs_and_versions(document, level, time):
    found = parse_json_message(json.dumps(document))
    assert (found.text, found.level, found.time) == ("m", level, time)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "{}",
        "[1]",
        '{"message": 1}',
        '{"message": "cut',
        "{'model': 'x'}",
        "{" * 100_000,
        '{"time":"x","status":200}',
    ],
)
def test_what_is_no_record_is_left_alone(text):
    assert parse_json_message(text) is None
    assert parse_line(text).text == text[:4096]


@pytest.mark.parametrize(
    "before", ["", "2026-11-22T09:14:48.9Z ", "engine-1  | ", "(EngineCore_DP0 pid=21) ", "\x1b[0;36m"]
)
def test_a_document_is_found_behind_whatever_stands_before_it(before):
    line = parse_line(before + json.dumps(RECORD))
    assert (line.level, line.process, line.is_json) == ("ERROR", "(EngineCore_DP0 pid=21)", True)
    assert parse_message(before + json.dumps(RECORD)).startswith("EngineCore failed to start.\nTwice.")


def test_each_line_of_a_message_is_told_with_the_number_of_the_document():
    lines = list(parse_lines(["x", json.dumps(RECORD), "y"]))
    assert [line.number for line in lines] == [1, *[2] * 6, 3]
    assert lines[6].text == "ValueError: x"


def test_a_document_longer_than_any_message_is_read_whole():
    long = RECORD | {"message": "x" * 20_000, "exc_info": "ValueError: at the end"}
    assert [line.text for line in parse_lines([json.dumps(long)])] == ["x" * 4096, "ValueError: at the end"]


def test_a_message_that_names_a_process_stays_one():
    quoted = RECORD | {"message": "Loading: 50%(Worker pid=2) INFO it said", "exc_info": None}
    assert [line.text for line in parse_lines([json.dumps(quoted)])] == [quoted["message"]]


def test_the_catalogue_knows_a_failure_in_json_and_the_code_of_its_traceback_is_none():
    said = "No available memory for the cache blocks. Try increasing `gpu_memory_utilization`."
    record = RECORD | {
        "exc_info": f'Traceback (most recent call last):\n  File "x"\n    raise ValueError(\nValueError: {said}'
    }
    found = diagnose([json.dumps(record)])
    assert (found.explained.id, found.explained.line) == ("no-kv-memory", f"ValueError: {said}")
    code = RECORD | {
        "exc_info": f'Traceback (most recent call last):\n  File "x"\n    raise ValueError("{said}")\nKeyError: 1'
    }
    assert diagnose([json.dumps(code)]).explained is None
    assert diagnose([json.dumps(RECORD | {"levelname": "INFO", "message": said, "exc_info": None})]).explained is None


@pytest.mark.parametrize(
    ("word", "level"), [("warn", "WARNING"), ("dbug", "DEBUG"), ("notice", "INFO"), ("loud", None)]
)
def test_levels_have_pythons_names(word, level):
    assert name_level(word) == level
