"""A demo against the stub engine: what is sent, told and kept, and what is left when it ends early."""

from __future__ import annotations

import json
import signal
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest

from stack.console_lines import render_table
from stack.errors import NotRunningError, ServiceApiError, TraceError
from stack.history.store import open_history
from stack.operations.annotations import kinds as annotate_kinds
from stack.operations.demo import run as demo_module
from stack.operations.demo.measure import measure
from stack.operations.demo.page import tell_demo
from stack.operations.demo.report import build_checks, render_lines, render_rows
from stack.operations.demo.run import DemoOptions, run
from stack.operations.demo.tally import OUTCOMES, DemoTally
from stack.traffic.demo_body import Engine
from stack.traffic.demo_pace import Pace
from stack.traffic.demo_phases import PHASES
from stack.traffic.demo_plan import Limits, build_plan
from stack.traffic.demo_texts import load_demo_texts
from stack.traffic.record_file import load_records
from tests.fixtures.stub_engine import FakeEngine

SHORT = 0.03
PHASE_NAMES = [phase.name for phase in PHASES]


@pytest.fixture
def engine():
    engine = FakeEngine()
    yield engine
    engine.close()


@pytest.fixture
def session(make_session, engine, monkeypatch):
    port = int(engine.url.rsplit(":", 1)[1])
    container = SimpleNamespace(attributes={"Config": {"Cmd": ["/model", "--max-num-seqs", "8"]}})
    status = SimpleNamespace(
        is_serving=True, ports={"engine": port}, served_name="fake", engine=SimpleNamespace(commit="c" * 40), boot=None,
        services=[SimpleNamespace(name="prometheus", state="running", url="http://127.0.0.1:9090")],
        found={"engine": container},
    )  # fmt: skip
    monkeypatch.setattr(demo_module, "read_status", lambda session: status)
    monkeypatch.setattr(annotate_kinds, "annotate_run", lambda *args, **told: None)
    session = make_session()
    session.paths.state.mkdir(parents=True)
    return session


@pytest.fixture
def only(monkeypatch):
    """A function: the demo is this phase alone."""

    def choose(name):
        phase = next(phase for phase in PHASES if phase.name == name)
        monkeypatch.setattr(demo_module, "PHASES", (replace(phase, share=1.0),))

    return choose


def check_texts(told):
    texts = load_demo_texts()
    for text in (*texts.questions, *texts.stories, *(turn for dialogue in texts.dialogues for turn in dialogue)):
        assert text not in told


def check_table(document):
    header, rows = render_rows(document)
    assert [row[0] for row in rows] == [*PHASE_NAMES, "all"]
    assert {len(row) for row in rows} == {len(header)}
    assert max(map(len, render_table(rows, header).splitlines())) <= 160
    assert render_lines(document)[-1] == "nothing ended as it should not"


def test_every_phase_is_sent_and_every_outcome_counted_and_no_text_is_told(session, tmp_path, said, events):
    shown = []
    document = run(session, DemoOptions(SHORT, seed=3, save_path=tmp_path / "out.jsonl"), show=shown.extend)
    assert document["is_passed"], document["problems"]
    assert [phase["name"] for phase in document["phases"]] == PHASE_NAMES
    now = document["now"]
    assert sum(now["outcomes"].values()) == now["requests"] == document["records"]["total"] > 30
    assert {name for name in OUTCOMES if now["outcomes"][name]} == {"stop", "length", "hung up", "refused"}
    assert set(document["statuses"]) == {"200", "400", "404"}
    assert now["ttft_seconds"]["p50"] <= now["ttft_seconds"]["p95"] <= now["ttft_seconds"]["p99"]
    assert sum(phase["requests"] for phase in document["phases"]) == now["requests"]
    assert (document["left_running"], document["seed"]) == (0, 3)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert shown[0].startswith("The demo takes 0:0") and any("g0.expr=" in line for line in shown)
    assert any(event.task == "demo" and "burst" in event.text for event in events)
    # What was saved is a trace, with what was answered.
    records = load_records(tmp_path / "out.jsonl")
    assert len(records) == document["records"]["total"]
    assert {record.response.status for record in records} == {200, 400, 404}
    records.close()
    check_table(document)
    check_texts(json.dumps(document) + "".join(said) + "".join(event.text for event in events))
    # And the history has it.
    [kept] = open_history(session.paths.history).list_runs("demo")
    assert kept.passed and kept.report["now"] == now
    assert [(check["check"], check["status"]) for check in kept.report["checks"]] == [(n, "pass") for n in PHASE_NAMES]
    assert "waiting" in kept.report["checks"][0]["message"]
    assert [row[0].text for row in tell_demo(kept.report).sections[0].rows] == PHASE_NAMES
    assert 'stack_run_passed{commit="' in session.paths.metrics.joinpath("stack.prom").read_text()


def test_answers_that_break_off_are_no_pass_and_are_named(session, engine, only, monkeypatch):
    only("chat")

    def measure_and_spoil(*args, **told):
        measured = measure(*args, **told)
        engine.misbehave("no-done")
        return measured

    monkeypatch.setattr(demo_module, "measure", measure_and_spoil)
    document = run(session, DemoOptions(SHORT))
    assert not document["is_passed"]
    assert document["now"]["outcomes"]["failed"] > 2
    assert document["problems"][0]["error"] == "broken-off"
    assert any("failed with status 200" in line for line in render_lines(document))
    assert "fail" in {check["status"] for check in build_checks(document)}
    assert render_lines(document)[-1].startswith("failed: ")


def test_bad_requests_that_are_not_refused_are_no_pass(session, engine, only):
    only("trouble")
    engine.misbehave("accept-bad-input")
    document = run(session, DemoOptions(SHORT))
    assert not document["is_passed"] and document["now"]["outcomes"]["refused"] == 0


def test_an_interrupt_leaves_nothing_running_and_gives_what_had_come(session, engine, only, tmp_path):
    only("trouble")
    over, main = threading.Event(), threading.main_thread().ident

    def interrupt() -> None:
        # Not before something runs that would go on by itself.
        while not any(request.max_tokens > 100 for request in list(engine.state.engine.running)):
            if over.wait(0.002):
                return
        signal.pthread_kill(main, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        document = run(session, DemoOptions(SHORT, save_path=tmp_path / "out.jsonl"))
    finally:
        over.set()
        thread.join()
    assert (document["is_interrupted"], document["is_passed"], document["left_running"]) == (True, False, 0)
    assert 0 < document["records"]["ended"] < document["records"]["total"]
    assert not (tmp_path / "out.jsonl").exists()
    assert any("interrupted" in line for line in render_lines(document))


def test_an_engine_that_gives_no_text_is_told(session, engine):
    engine.misbehave("unavailable")
    with pytest.raises(ServiceApiError):
        run(session, DemoOptions(SHORT))


def test_without_a_running_engine_nothing_is_sent(session, monkeypatch):
    monkeypatch.setattr(demo_module, "read_status", lambda session: SimpleNamespace(is_serving=False, ports={}))
    with pytest.raises(NotRunningError):
        run(session, DemoOptions(SHORT))


def test_a_file_that_cannot_be_written_is_said_before_anything_is_sent(session, engine, tmp_path):
    with pytest.raises(TraceError):
        run(session, DemoOptions(SHORT, save_path=tmp_path / "missing" / "out.jsonl"))
    assert engine.state.metrics.values["first_tokens"] == 0


def test_a_phase_that_an_interrupt_kept_from_beginning_is_skipped():
    nothing = DemoTally(build_plan(PHASES, Engine("m"), Pace(0.1, 0.1, 80.0, 1000.0), Limits(60.0), load_demo_texts()))
    document = nothing.build_document() | {"is_interrupted": True, "gave_up": False}
    assert {check["status"] for check in build_checks(document)} == {"skip"}
    assert {check["status"] for check in build_checks(document | {"is_interrupted": False})} == {"pass"}
