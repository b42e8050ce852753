"""In which order `up` decides, warns and works, and what a dry run looks at."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest

from stack.checks.finding import Finding
from stack.operations.doctor.preflight import PreflightError
from stack.operations.up import run as up
from stack.operations.up.outcome import UpResult
from stack.operations.up.plan import Plan, Step
from stack.operations.up.run import run_up

STEP = Step("services", "start engine", "engine is not running")


@pytest.fixture
def happened():
    """What happened, in its order."""
    return []


@pytest.fixture
def bring(make_session, monkeypatch, happened, warned):
    """A function: the plan's steps and what the preflight says give what `up` of a pretended machine gives."""

    def call(*steps, found=(), before=(), **options):
        def check(session, client, resolved, *, anyway):
            happened.append("preflight")
            if isinstance(found, Exception):
                raise found
            return list(found)

        def judge(session, client, resolved, *, anyway):
            happened.append(f"verdict{', overridden' if anyway else ''}")
            return []

        class Run:
            def __init__(self, session, client, result):
                self.result = result

            def run(self):
                happened.append(f"run after {warned}")
                return self.result

        resolved = SimpleNamespace(choices=[], left_out={})
        monkeypatch.setattr(up, "check_tools", lambda session: None)
        monkeypatch.setattr(up, "hold_project", lambda session, doing: contextlib.nullcontext())
        monkeypatch.setattr(up, "clear_trial", lambda session: None)
        monkeypatch.setattr(up, "_look", lambda *rest: UpResult(resolved, Plan(steps), warnings=list(before)))
        monkeypatch.setattr(up, "_describe_moves", lambda *rest: [])
        monkeypatch.setattr(up, "check_preflight", check)
        monkeypatch.setattr(up, "check_fit", judge)
        monkeypatch.setattr(up, "UpRun", Run)
        return run_up(make_session(), **options)

    return call


def test_warnings_are_told_before_the_steps_that_may_take_long(bring, happened):
    result = bring(STEP, before=["one GPU of 2 is used"], found=["memory: little"])
    assert happened == ["preflight", "verdict", "run after ['one GPU of 2 is used', 'memory: little']"]
    assert result.warnings == ["one GPU of 2 is used", "memory: little"]


def test_a_dry_run_looks_at_the_machine_too_and_leaves_telling_to_whoever_asked(bring, happened, warned):
    result = bring(STEP, before=["one GPU of 2 is used"], found=["memory: little"], dry_run=True)
    assert result.warnings == ["one GPU of 2 is used", "memory: little"]
    assert (happened, warned) == (["preflight", "verdict"], [])


@pytest.mark.parametrize("dry_run", [True, False])
def test_every_failure_of_the_preflight_ends_it_before_anything_is_done(bring, happened, dry_run):
    failed = PreflightError([Finding("memory", "fail", "too little"), Finding("disk-space", "fail", "full")])
    with pytest.raises(PreflightError, match="memory: too little\ndisk-space: full") as caught:
        bring(STEP, found=failed, dry_run=dry_run)
    assert caught.value.exit_code == 3
    assert happened == ["preflight"]


@pytest.mark.parametrize("dry_run", [True, False])
def test_where_there_is_nothing_to_do_there_is_nothing_to_look_at(bring, happened, dry_run):
    bring(found=AssertionError("it was not asked for"), dry_run=dry_run)
    assert "preflight" not in happened


def test_a_verdict_on_the_image_can_be_overridden(bring, happened):
    bring(STEP, anyway=True)
    assert happened[:2] == ["preflight", "verdict, overridden"]
