"""`stack replay`: what is printed and how it ends."""

from __future__ import annotations

import json

import pytest

from tests.unit.operations.replay.test_replay_report import ANSWER, REST, tally


@pytest.fixture
def asked(monkeypatch):
    """What the operation was asked for; `asked.document` is what it gives."""

    class Asked:
        options = None
        document = None

    def run(session, options):
        Asked.options = options
        return Asked.document

    monkeypatch.setattr("stack.operations.replay.run.run", run)
    return Asked


def build_document(*verdicts, **changes):
    counted = tally(*((verdict, ANSWER, None) for verdict in verdicts)).build_document()
    is_passed = not {"differs", "failed"} & set(verdicts)
    return {"schema_version": 1, **REST, **counted, "is_passed": is_passed, **changes}


def test_a_pass_is_a_table_and_ends_well(invoke, asked):
    asked.document = build_document("equal")
    done = invoke("replay", "x.jsonl", "--concurrency", "8", "--no-scores")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[:4] == [
        "RECORD  VERDICT  STATUS  END   TOKENS  E2E      TTFT     WHY",
        "r0      equal    200     stop  2       1.000 s  0.250 s",
        "",
        "3 of 3 sent as recorded: 1 equal",
    ]
    assert (str(asked.options.path), asked.options.concurrency, asked.options.asks_scores) == ("x.jsonl", 8, False)


def test_a_difference_ends_with_1_and_an_interrupt_with_130(invoke, asked):
    asked.document = build_document("equal", "differs")
    assert invoke("replay", "x").exit_code == 1
    asked.document = build_document("equal", is_interrupted=True, is_passed=False)
    done = invoke("replay", "x", "--json")
    assert (done.exit_code, json.loads(done.stdout)["schema_version"]) == (130, 1)


def test_speed_and_concurrency_exclude_each_other(run_stack):
    done = run_stack("replay", "x", "--speed", "2", "--concurrency", "2")
    assert (done.code, "choose one" in done.err) == (2, True)


def test_a_file_that_is_not_there_ends_with_8(run_stack):
    done = run_stack("replay", "nothing.jsonl")
    assert (done.code, "nothing.jsonl cannot be read" in done.err) == (8, True)
