"""The whole smoke test against the stub engine: what is good passes, what is broken fails where it should."""

from __future__ import annotations

import dataclasses
import threading
import time
from pathlib import Path

import pytest

from stack.checks import smoke
from stack.checks.finding import Baseline
from stack.checks.smoke.check import Check, Outcome
from stack.checks.smoke.defaults import TEXTS
from stack.checks.smoke.registry import load_checks
from stack.checks.smoke.run import run_smoke
from stack.checks.smoke.target import ModelFacts, ServiceFacts, SmokeConfig
from tests.fixtures.fake_engine import words

# What a stub that is only this one thing leaves for lack of a counterpart.
ALWAYS_SKIPPED = {"api-key", "baseline", "prometheus", "grafana", "dashboards"}


def run(target, *, speed=1):
    report = run_smoke(target, clock=lambda: time.monotonic() * speed)
    return report, {finding.check: finding for finding in report.findings}


def failed(report):
    return {finding.check for finding in report.findings if finding.status == "fail"}


def test_a_good_engine_passes_every_check(start_engine, build_target):
    report, found = run(build_target(start_engine()))

    assert failed(report) == set(), [finding for finding in report.findings if finding.status == "fail"]
    assert {name for name, finding in found.items() if finding.status == "skip"} == ALWAYS_SKIPPED
    assert report.count("warn") == 0
    assert report.is_passed


def test_a_good_embedding_engine_gets_embedding_checks_instead_of_generation(start_engine, build_target):
    model = ModelFacts("stub/embedder", "b" * 40, is_pooling=True, embedding_size=64, is_normalized=True)
    report, found = run(build_target(start_engine("--pooling"), model=model))

    assert failed(report) == set(), report.findings
    assert found["embeddings"].status == "pass"
    assert "canaries" not in found
    assert report.baseline is None


def test_a_base_model_is_judged_by_completions(start_engine, build_target):
    model = ModelFacts("stub/base", "c" * 40, has_chat_template=False, vocab_size=49152)
    report, found = run(build_target(start_engine(), model=model))

    assert failed(report) == set(), report.findings
    assert found["chat-template"].status == "skip"
    assert found["canaries"].status == "pass"


def test_an_engine_with_a_key_is_asked_with_it_and_must_demand_it(start_engine, build_target):
    report, found = run(build_target(start_engine("--api-key", "sesame"), api_key="sesame"))

    assert failed(report) == set()
    assert found["api-key"].status == "pass"


# Each misbehaviour, the checks that must fail, and those that may as well (they see the same fault).
MISBEHAVIOURS = {
    "wrong-answers": ({"canaries"}, set()),
    "garbage": (
        {"canaries", "likelihood", "chat-template"},
        {"agreement", "batch-route", "greedy", "streaming"},
    ),
    "bad-decode": ({"agreement", "batched", "batched-streaming"}, {"batch-route", "greedy", "streaming"}),
    "crosstalk": ({"batched", "batched-streaming"}, {"batch-route", "canaries"}),
    "foreign-template": ({"chat-template"}, {"canaries", "greedy", "streaming"}),
    "no-done": ({"streaming", "batched-streaming"}, set()),
    "wrong-usage": ({"streaming"}, {"batched-streaming", "bad-input"}),
    # Chunks held back to be shuffled are chunks of a request that has long ended.
    "shuffled-chunks": ({"streaming"}, {"batched-streaming", "hang-up"}),
    "stream-differs": ({"streaming"}, set()),
    "empty-stream": ({"streaming", "batched-streaming", "hang-up"}, set()),
    "ignore-hangup": ({"hang-up"}, set()),
    "accept-bad-input": ({"bad-input"}, set()),
    "no-message": ({"bad-input"}, set()),
    "serial": ({"batched", "batched-streaming"}, set()),
    "frozen-metrics": ({"metrics", "hang-up"}, {"batched", "batched-streaming"}),
    "html-metrics": ({"metrics", "hang-up"}, {"batched", "batched-streaming"}),
    "another-model": ({"model-list"}, set()),
}


@pytest.mark.parametrize("mode", MISBEHAVIOURS)
def test_a_misbehaving_engine_fails_the_check_that_is_meant_for_it(mode, start_engine, build_target):
    engine = start_engine()
    engine.misbehave(mode)

    must, may = MISBEHAVIOURS[mode]
    # A clock that runs four times as fast: what is waited for in vain is given up sooner.
    report, _ = run(build_target(engine), speed=4 if {"hang-up", "metrics"} & (must | may) else 1)

    assert must <= failed(report), [finding for finding in report.findings if finding.status == "fail"]
    assert failed(report) <= must | may, [finding for finding in report.findings if finding.status == "fail"]
    assert report.baseline is None or "canaries" not in failed(report)


def test_an_engine_that_forgot_its_key_fails_that_check_alone(start_engine, build_target):
    engine = start_engine("--api-key", "sesame")
    engine.misbehave("keyless")

    report, _ = run(build_target(engine, api_key="sesame"))

    assert failed(report) == {"api-key"}


def test_an_engine_without_the_batch_route_skips_it_with_the_reason(start_engine, build_target):
    engine = start_engine()
    engine.misbehave("no-batch-route")

    report, found = run(build_target(engine))

    assert report.is_passed
    assert found["batch-route"].status == "skip"
    assert "/v1/chat/completions/batch" in found["batch-route"].message


@pytest.mark.parametrize("mode", ["die-under-load", "die-on-bad-input"])
def test_an_engine_that_dies_midway_fails_and_the_run_still_ends(mode, start_engine, build_target):
    engine = start_engine()
    engine.misbehave(mode)

    report, _ = run(build_target(engine))

    guilty = {"die-under-load": "batched", "die-on-bad-input": "bad-input"}[mode]
    assert guilty in failed(report)
    assert "metrics" in failed(report)
    assert not {"canaries", "likelihood", "greedy"} & failed(report)


def test_an_unavailable_engine_fails_once_and_skips_the_rest(start_engine, build_target):
    engine = start_engine()
    engine.misbehave("unavailable")

    report, found = run(build_target(engine))

    assert failed(report) == {"model-list", "identity"}
    assert "503" in found["model-list"].message
    assert found["canaries"].status == "skip"
    assert "model-list" in found["canaries"].message


def test_an_engine_that_hangs_is_given_up_in_time(start_engine, build_target):
    engine = start_engine()
    engine.misbehave("hang")

    report, found = run(build_target(engine, config=SmokeConfig(timeout_seconds=0.5)))

    assert {"model-list", "identity"} <= failed(report)
    said = found["model-list"].message
    assert "no result within" in said and "context.engine." in said


def test_random_embeddings_are_found_out(start_engine, build_target):
    engine = start_engine("--pooling")
    engine.misbehave("random-embeddings")
    model = ModelFacts("stub/embedder", "b" * 40, is_pooling=True)

    report, _ = run(build_target(engine, model=model))

    assert failed(report) == {"embeddings"}


def test_a_run_judged_right_becomes_the_baseline_that_a_later_boot_is_held_to(start_engine, build_target):
    engine = start_engine()
    first, _ = run(build_target(engine))
    baseline = Baseline.from_document(first.baseline.to_document())

    same, found = run(build_target(engine, baseline=baseline))
    assert found["baseline"].status == "pass"
    assert same.is_passed

    engine.misbehave("stale-baseline")
    other, found = run(build_target(engine, baseline=baseline))
    assert failed(other) == {"baseline"}
    assert "scored otherwise before" in found["baseline"].message


def test_a_run_with_a_failed_canary_is_no_baseline(start_engine, build_target):
    engine = start_engine()
    engine.misbehave("wrong-answers")

    assert run(build_target(engine))[0].baseline is None


def test_a_baseline_of_another_revision_is_not_compared(start_engine, build_target):
    other = Baseline("d" * 40, {"default-1": 99.0}, {"default-1": 0.01})

    _, found = run(build_target(start_engine(), baseline=other))

    assert found["baseline"].status == "skip"


def test_others_using_the_engine_do_not_raise_an_alarm(start_engine, build_target):
    engine = start_engine()
    target = build_target(engine)
    is_over = threading.Event()

    def use():
        while not is_over.is_set():
            target.engine.run_completion("The harbour was quiet", max_tokens=30, ignore_eos=True)

    threads = [threading.Thread(target=use, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        report, _ = run(target)
    finally:
        is_over.set()
        for thread in threads:
            thread.join()

    assert failed(report) == set(), report.findings


def test_a_check_that_stumbles_becomes_a_failed_finding(start_engine, build_target):
    def stumble(context):
        raise ValueError("not what was expected")

    def fine(context):
        return Outcome("pass", "fine")

    checks = [Check("first", stumble, 1), Check("second", fine, 2), Check("third", fine, 3, needs=("first",))]
    report = run_smoke(build_target(start_engine()), checks=checks)

    assert [finding.status for finding in report.findings] == ["fail", "pass", "skip"]
    assert "not what was expected" in report.findings[0].message


def test_findings_are_told_as_they_come(start_engine, build_target):
    told = []

    report = run_smoke(build_target(start_engine()), on_finding=told.append)

    assert sorted(finding.check for finding in told) == sorted(finding.check for finding in report.findings)


def test_the_registry_finds_every_check_file():
    files = {path.stem for path in Path(smoke.__file__).parent.glob("check_*.py")}

    assert {f"check_{check.name.replace('-', '_')}" for check in load_checks()} == files


def test_a_restarted_service_fails_and_an_optional_one_warns(start_engine, build_target):
    engine = start_engine()
    services = (ServiceFacts("engine", "running", restart_count=2),)
    report, found = run(build_target(engine, services=services))
    assert failed(report) == {"services"}
    assert "restarted 2 times" in found["services"].message

    services = (ServiceFacts("grafana", "exited", is_required=False),)
    report, found = run(build_target(engine, services=services))
    assert report.is_passed
    assert found["services"].status == "warn"


def test_a_stack_that_runs_one_request_at_a_time_by_choice_is_not_blamed_for_it(start_engine, build_target):
    engine = start_engine()
    engine.misbehave("serial")

    report, found = run(dataclasses.replace(build_target(engine), max_num_seqs=1))

    assert report.is_passed
    assert "one at a time" in found["batched"].message


def test_the_stub_knows_the_texts_that_smoke_reads():
    assert tuple(words.TEXTS) == TEXTS
