"""A file replayed against the stub engine, and what is told of it."""

from __future__ import annotations

import itertools
import json
import signal
from types import SimpleNamespace

import pytest

from stack.errors import NotRunningError, ServiceApiError, TraceError
from stack.history.store import open_history
from stack.operations.replay import run as replay_module
from stack.operations.replay.options import ReplayOptions
from stack.operations.replay.page import tell_replay
from stack.operations.replay.run import run
from stack.traffic.record_file import load_records
from tests.fixtures.stub_engine import FakeEngine

SECRET = "What do bees make?"


def build_line(name, question=SECRET, **more):
    messages = [{"role": "user", "content": question}]
    body = {"model": "prod", "messages": messages, "temperature": 0}
    return {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body, **more}


@pytest.fixture
def engine():
    engine = FakeEngine()
    yield engine
    engine.close()


@pytest.fixture
def write(tmp_path):
    def call(*lines):
        path = tmp_path / "in.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path

    return call


@pytest.fixture
def session(make_session, engine, monkeypatch):
    port = int(engine.url.rsplit(":", 1)[1])
    status = SimpleNamespace(
        is_serving=True, ports={"engine": port}, served_name="fake", engine=SimpleNamespace(commit="c" * 40), boot=None
    )
    monkeypatch.setattr(replay_module, "read_status", lambda session: status)
    session = make_session()
    session.paths.state.mkdir(parents=True)
    return session


@pytest.fixture
def again(session, write, tmp_path):
    """A function: lines are replayed and saved; gives the options that replay what was saved."""

    def call(*lines):
        run(session, ReplayOptions(write(*lines), save_path=tmp_path / "out.jsonl"))
        return ReplayOptions(tmp_path / "out.jsonl")

    return call


def test_what_was_saved_is_equal_when_it_is_replayed(session, again, said):
    options = again(build_line("a"), build_line("b", "What is the capital of Japan?"))
    document = run(session, options)
    assert document["is_passed"]
    assert document["counts"] == {"equal": 2, "near tie": 0, "not compared": 0, "differs": 0, "failed": 0}
    assert document["renamed"] == {"prod": 2}
    assert document["recorded"]["completion_tokens"] == document["now"]["completion_tokens"] > 0
    assert document["schedule"]["kind"] == "one after another"
    assert any("out.jsonl; it holds prompts" in text for text in said)


def test_an_answer_that_differs_is_no_pass_and_stands_first(session, engine, again):
    text = {"url": "/v1/completions", "body": {"prompt": "The harbour was quiet", "temperature": 0}}
    options = again(build_line("a") | text, build_line("b"))
    engine.misbehave("wrong-answers")
    document = run(session, options)
    assert not document["is_passed"]
    assert [row["custom_id"] for row in document["rows"]] == ["b", "a"]
    assert document["rows"][0]["token_index"] == 2


def test_a_near_tie_is_a_pass(session, engine, again):
    engine.misbehave("undecided")
    options = again(build_line("a"))
    engine.misbehave("undecided-other")
    document = run(session, options)
    assert (document["is_passed"], document["counts"]["near tie"]) == (True, 1)


def test_without_recorded_answers_nothing_is_compared(session, write):
    document = run(session, ReplayOptions(write(build_line("a"))))
    assert (document["is_passed"], document["counts"]["not compared"]) == (True, 1)
    assert document["recorded"] is None


def test_no_text_is_in_the_report_the_history_or_what_is_said_unless_asked_for(session, engine, again, said, events):
    options = again(build_line("a"), build_line("b", model="x", offset=1))
    engine.misbehave("wrong-answers")
    document = run(session, options)
    held = [row.report for row in open_history(session.paths.history).list_runs("replay")]
    told = json.dumps([document, held, said, [event.text for event in events]])
    assert not any(text in told for text in ("bees", "honey", "Honey"))
    shown = run(session, ReplayOptions(options.path, with_texts=True))["rows"][0]["texts"]
    assert shown["recorded"] != shown["now"]
    kept = open_history(session.paths.history).list_runs("replay")[0].report
    assert "texts" not in json.dumps(kept)
    page = tell_replay(kept)
    assert page.reasons and "bees" not in str(page) and page.sections[0].heading == "Records that are not equal"


def test_a_refusal_of_the_engine_is_not_quoted_unless_asked_for(session, write):
    line = build_line("a")
    line["body"]["max_tokens"] = -123
    path = write({**line, "response": {"status_code": 200, "body": {"choices": []}}})
    assert "-123" not in json.dumps(run(session, ReplayOptions(path)))
    assert "-123" in json.dumps(run(session, ReplayOptions(path, with_texts=True)))


def test_every_replay_is_noted_with_its_result(session, again):
    run(session, again(build_line("a")))
    runs = open_history(session.paths.history).list_runs("replay")
    assert [(one.passed, one.report["counts"]["equal"]) for one in runs] == [(True, 1), (True, 0)]


def test_a_slower_median_is_a_difference_only_where_it_is_judged(session, write):
    body = {"choices": [{"index": 0, "message": {"content": "Bees make honey."}, "finish_reason": "stop"}]}
    answer = {"status_code": 200, "body": body}
    path = write(build_line("a", response=answer, timing={"duration_seconds": 1e-5}))
    told, judged = run(session, ReplayOptions(path)), run(session, ReplayOptions(path, max_latency_ratio=2))
    assert (told["is_passed"], judged["is_passed"]) == (True, False)
    assert judged["latency_ratio"] > 2


def test_recorded_times_are_kept_and_a_late_replay_is_degraded(session, write, monkeypatch):
    path = write(build_line("a", offset_seconds=10), build_line("b", offset_seconds=10.01))
    document = run(session, ReplayOptions(path, speed=2))
    assert document["schedule"] == {
        "kind": "as recorded", "said": "as recorded, 2 times as fast", "speed": 2, "concurrency": None,
    }  # fmt: skip
    assert document["send_lag_seconds"]["p99"] >= 0


def test_offsets_in_some_lines_only_are_refused(session, write):
    path = write(build_line("a", offset_seconds=1), build_line("b"))
    with pytest.raises(TraceError, match="record 2 has none"):
        run(session, ReplayOptions(path))
    assert run(session, ReplayOptions(path, concurrency=1))["is_passed"]
    with pytest.raises(TraceError, match="no speed to change"):
        run(session, ReplayOptions(write(build_line("a")), speed=2))


def test_an_engine_that_does_not_answer_is_told(session, engine, write, monkeypatch):
    path = write(build_line("a"))
    engine.misbehave("hang")
    monkeypatch.setattr(
        replay_module, "build_target", lambda *_: replay_module.ReplayTarget(engine.url, timeout_seconds=0.1)
    )
    with pytest.raises(ServiceApiError, match="none of the requests was answered") as caught:
        run(session, ReplayOptions(path))
    assert caught.value.exit_code == 6


def test_without_a_running_engine_nothing_is_sent(session, write, monkeypatch):
    monkeypatch.setattr(replay_module, "read_status", lambda session: SimpleNamespace(is_serving=False, ports={}))
    with pytest.raises(NotRunningError):
        run(session, ReplayOptions(write(build_line("a"))))


def test_an_engine_that_dies_in_the_middle_is_no_pass_and_nothing_is_saved(session, engine, again, tmp_path, said):
    options = again(*(build_line(str(number)) for number in range(40)))
    (tmp_path / "later.jsonl").write_text("before")

    count, sample = itertools.count(), engine.state.sample

    def step(context):
        if next(count) == 30:
            engine.state.is_closed = True
            engine.server.server_close()
            engine.server.shutdown()
        return sample(context)

    engine.state.sample = step
    document = run(session, ReplayOptions(options.path, save_path=tmp_path / "later.jsonl"))
    assert not document["is_passed"]
    assert document["gave_up"]
    assert document["counts"]["failed"] >= 20
    assert document["records"]["sent"] < 40
    assert (tmp_path / "later.jsonl").read_text() == "before"
    assert any("is not written" in text for text in said)


def test_an_interrupt_gives_what_had_come_and_saves_nothing(session, engine, again, tmp_path, monkeypatch):
    options = again(*(build_line(str(number)) for number in range(5)))
    compare = replay_module.compare_record

    def interrupt(record, *rest):
        if record.custom_id == "2":
            signal.raise_signal(signal.SIGINT)
        return compare(record, *rest)

    monkeypatch.setattr(replay_module, "compare_record", interrupt)
    document = run(session, ReplayOptions(options.path, save_path=tmp_path / "later.jsonl"))
    assert (document["is_interrupted"], document["is_passed"], document["counts"]["equal"]) == (True, False, 3)
    assert not (tmp_path / "later.jsonl").exists()


def test_a_saved_file_is_one_of_records(again):
    record = load_records(again(build_line("a", offset_seconds=3)).path)[0]
    assert (record.offset_seconds, record.body["model"], record.response.text) == (3.0, "prod", "Bees make honey.")
    assert record.response.duration_seconds > 0
