"""Files of records: checked whole, read one by one."""

from __future__ import annotations

import json

import pytest

from stack.errors import TraceError
from stack.traffic import record_file
from stack.traffic.record_file import load_builtin_records, load_records, read_offsets


def build_line(name, **more):
    return {"custom_id": name, "method": "POST", "url": "/v1/completions", "body": {"prompt": name}, **more}


@pytest.fixture
def write(tmp_path):
    def call(*lines, encoding="utf-8", end="\n"):
        path = tmp_path / "records.jsonl"
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        path.write_bytes(end.join(texts).encode(encoding))
        return path

    return call


def test_records_are_given_by_their_position(write):
    records = load_records(write(build_line("a"), "", build_line("b", offset_seconds=2), "  "))
    assert [record.custom_id for record in records] == ["a", "b"]
    assert (len(records), records[1].body, records[-1].custom_id) == (2, {"prompt": "b"}, "b")
    assert records.offsets == read_offsets(records) == read_offsets(list(records)) == [None, 2.0]
    assert [record.custom_id for record in records[:1]] == ["a"]


def test_a_file_of_windows_is_read(write):
    path = write(build_line("a"), build_line("b"), encoding="utf-8-sig", end="\r\n")
    assert [record.custom_id for record in load_records(path)] == ["a", "b"]


@pytest.mark.fault(
    "A file of records with bad lines",
    "Exit 8 before anything is sent; every bad line by its number and what is wrong with it",
)
def test_all_bad_lines_are_named_at_once(write):
    path = write(build_line("a"), "{", build_line("a"), build_line("c", method="GET"), "[]")
    with pytest.raises(TraceError) as caught:
        load_records(path)
    said = caught.value.message.splitlines()
    assert caught.value.exit_code == 8
    assert said[1:] == [
        "line 2: no JSON (column 2)",
        "line 3: `custom_id` stands on an earlier line too",
        "line 4: `method` must be `POST`",
        "line 5: no JSON object",
    ]


def test_of_very_many_bad_lines_the_rest_is_counted(write):
    with pytest.raises(TraceError) as caught:
        load_records(write(*["{"] * 60))
    assert caught.value.message.endswith("line 50: no JSON (column 2)\nand 10 more lines")


def test_bytes_that_are_no_text_are_told(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b'{"a": "\xff"}\n')
    with pytest.raises(TraceError, match="line 1: no UTF-8"):
        load_records(path)


def test_a_line_that_is_too_long_is_told_and_the_next_is_still_read(write, monkeypatch):
    monkeypatch.setattr(record_file, "MAX_LINE_BYTES", 2**20)
    path = write(build_line("a", body={"prompt": "x" * 2**21}), build_line("b"), "{")
    with pytest.raises(TraceError) as caught:
        load_records(path)
    assert caught.value.message.splitlines()[1:] == ["line 1: longer than 1 MiB", "line 3: no JSON (column 2)"]


@pytest.mark.parametrize("lines", [[], ["", " "]])
def test_a_file_without_records_is_refused(write, lines):
    with pytest.raises(TraceError, match="it holds no record"):
        load_records(write(*lines))


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(TraceError, match="cannot be read"):
        load_records(tmp_path / "nothing")
    with pytest.raises(TraceError, match="cannot be read|no regular file"):
        load_records(tmp_path)


def test_keys_that_mean_nothing_are_counted(write):
    records = load_records(write(build_line("a", offset=1), build_line("b", offset=2)))
    assert dict(records.unknown_keys) == {"offset": 2}


def test_a_file_that_changes_meanwhile_is_told(write):
    path = write(build_line("a"), build_line("b"))
    records = load_records(path)
    path.write_text("")
    with pytest.raises(TraceError, match="was changed while it was read"):
        _ = records[1]


def test_the_built_in_set_is_greedy_and_names_no_model():
    records = load_builtin_records()
    assert len(records) == 12
    assert all(record.is_greedy and "model" not in record.body for record in records)
    assert {record.kind for record in records} == {"chat", "completion"}
    assert any(record.is_streamed for record in records)
    assert {record.url for record in load_builtin_records(is_pooling=True)} == {"/v1/embeddings"}
