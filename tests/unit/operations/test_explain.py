"""`stack explain`: which log is read, and what is said of it."""

from __future__ import annotations

import datetime
import io
import json
import random

import pytest

from stack.errors import ConfigError
from stack.failures.catalogue import load_catalogue
from stack.history.records import BootStart
from stack.history.store import open_history
from stack.operations import explain

OOM = b"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.\n"


@pytest.fixture
def session(make_session):
    return make_session()


@pytest.fixture
def record(session, tmp_path):
    """A function: a boot with this outcome and log, kept as `up` keeps it."""

    def add(name, outcome, text="x"):
        path = tmp_path / f"{name}.log"
        if text is not None:
            path.write_text(text)
        history = open_history(session.paths.history)
        history.finish_boot(history.record_boot(build_start(str(path))), outcome, total_seconds=1.0)
        return path

    return add


def build_start(log_path):
    return BootStart(
        kind="k", started_at=datetime.datetime(2026, 11, 21, tzinfo=datetime.UTC), commit=None, commit_level="unknown",
        version="0.31.0", image_digest=None, image_id="sha256:x", model="demo", revision=None, device="cpu",
        args={}, log_path=log_path,
    )  # fmt: skip


def test_the_log_of_the_last_boot_that_failed_is_found(session, record):
    record("first", "failed")
    wanted = record("second", "failed")
    record("third", "interrupted")
    record("fourth", "ready")
    assert explain.find_failed_log(session) == wanted


def test_a_log_that_is_gone_gives_way_to_an_earlier_one(session, record):
    wanted = record("first", "failed")
    record("second", "failed", text=None)
    assert explain.find_failed_log(session) == wanted


def test_where_no_boot_failed_that_is_said_with_what_can_be_done(session, record):
    with pytest.raises(ConfigError, match="no boot failed") as caught:
        explain.find_failed_log(session)
    assert "stack explain LOGFILE" in caught.value.hint
    record("first", "failed", text=None)
    with pytest.raises(ConfigError, match="not kept any more"):
        explain.find_failed_log(session)


def test_a_line_of_any_length_is_read_in_pieces_and_counted_once():
    log = io.BytesIO(b"x" * 200_000 + b"\n" + OOM)
    lines = list(explain.read_lines(log))
    assert [len(line) for line in lines] == [65536, len(OOM)]
    log.seek(0)
    assert explain.explain_log(log).explained.line_number == 2


def test_bytes_that_are_no_text_harm_nothing():
    assert explain.explain_log(io.BytesIO(b"\xff\xfe\x00\x81\n" + OOM)).explained.id == "cuda-oom"


def test_a_known_failure_is_told_with_its_line_and_the_next_step():
    diagnosis = explain.explain_log(io.BytesIO(b"hello\n" + OOM + b"no space left on device\n"))
    assert explain.render_lines(diagnosis, "engine.log") == [
        "cuda-oom: the GPU's memory ran out",
        "",
        "  engine.log, line 2: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        "",
        "next: lower `gpu-memory-utilization` in [engine.args] by 0.05, or allow fewer requests at once "
        "(`max-num-seqs`); `nvidia-smi` shows who else holds memory",
        "also seen (line 3): the disk that Docker or the stack's folders are on is full",
    ]
    document = json.loads(json.dumps(explain.build_document(diagnosis, "engine.log")))
    assert document["schema_version"] == 1
    assert (document["explained"]["id"], document["explained"]["line_number"]) == ("cuda-oom", 2)
    assert [item["id"] for item in document["also_seen"]] == ["disk-full"]


def test_an_unknown_failure_is_told_by_its_first_cause():
    log = (
        b"KeyError: 'x'\n\nDuring handling of the above exception, another exception occurred:\n\n"
        b"ValueError: no such flux\nRuntimeError: Engine core initialization failed. See root cause above.\n"
    )
    diagnosis = explain.explain_log(io.BytesIO(log))
    assert explain.render_lines(diagnosis, "-")[:4] == [
        "this failure is not known; the first cause that the log names:",
        "",
        "  -, line 1: KeyError: 'x'",
        "  which led to: ValueError: no such flux",
    ]
    document = explain.build_document(diagnosis, "-")
    assert document["explained"] is None
    assert document["first_cause"] == {
        "text": "KeyError: 'x'", "line_number": 1, "led_to": "ValueError: no such flux",
    }  # fmt: skip


def test_a_log_without_a_failure_is_said_to_name_none():
    assert explain.render_lines(explain.explain_log(io.BytesIO(b"all is well\n")), "x.log") == [
        "x.log names no failure (1 line)"
    ]
    assert explain.render_lines(explain.explain_log(io.BytesIO(b"")), "x.log") == ["x.log is empty"]


def test_a_log_of_an_engine_that_serves_names_no_failure_but_what_was_before():
    log = io.BytesIO(OOM + b"INFO:     Application startup complete.\nINFO:     1.2.3.4:5 - 200 OK\n")
    diagnosis = explain.explain_log(log)
    assert explain.render_lines(diagnosis, "x.log") == [
        "x.log names no failure since the engine serves (line 2 of 3)",
        "before that (line 1): the GPU's memory ran out",
    ]
    document = explain.build_document(diagnosis, "x.log")
    assert (document["explained"], document["served_line"]) == (None, 2)
    assert [item["id"] for item in document["before_served"]] == ["cuda-oom"]


def test_a_log_that_only_says_that_something_failed_is_said_to_hold_no_cause():
    echo = b"RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}\n"
    lines = explain.render_lines(explain.explain_log(io.BytesIO(echo)), "x.log")
    assert lines[0] == "the log says that something failed, and not why:"
    assert lines[-1].startswith("next: the cause stands further up")


def test_the_table_has_every_failure_in_a_row_of_whole_cells():
    rows = explain.build_rows()
    assert [row[0] for row in rows] == [entry.id for entry in load_catalogue()]
    lines = explain.render_markdown().splitlines()
    assert len(lines) == len(rows) + 2
    assert all(line.replace("\\|", "").count("|") == 4 for line in lines)
    assert "{" not in explain.render_markdown()


@pytest.mark.parametrize(
    ("line", "is_noise"),
    [
        ("", False),
        ("RuntimeError: CUDA error: no kernel image\n", False),
        ("\x1b[1;36m(EngineCore pid=77)\x1b[0;0m ERROR 11-22 10:00:00 boom\r\n", False),
        ("Loading: 100%|██████████| 2/2 [00:01<00:00]\r\tdone\n", False),
        ("错误：显存不足 — ünï\n", False),
        ("caf\ufffd is Latin-1\n", False),
        ("\x00\x01\x02ELF\n", True),
        ("\ufffd\ufffd8\ufffdQ\n", True),
    ],
)
def test_a_binary_line_is_told_from_one_that_somebody_wrote(line, is_noise):
    assert explain.is_noise(line) is is_noise


def test_binary_noise_is_not_searched_and_what_stands_amid_it_keeps_its_line():
    noise = random.Random(7).randbytes(300_000)
    lines = list(explain.read_lines(io.BytesIO(noise + b"\n" + OOM)))
    assert len([line for line in lines if line]) < 60, "a line of few bytes may look like text"
    diagnosis = explain.explain_log(io.BytesIO(noise + b"\n" + OOM))
    assert diagnosis.explained.id == "cuda-oom"
    assert diagnosis.explained.line_number == diagnosis.line_count == noise.count(b"\n") + 2


def test_a_long_log_is_told_while_it_is_read():
    events = []
    explain.explain_log(io.BytesIO((b"x" * 54_999 + b"\n") * 100), events.append)
    assert [event.state for event in events] == ["running", "done"]
    assert events[-1].completed_bytes == 5_500_000
    events.clear()
    explain.explain_log(io.BytesIO(OOM), events.append)
    assert events == []
