"""Objectives are judged by the definitions of the burn-rate rules, and nothing is said where nothing can be."""

from __future__ import annotations

import pytest

from stack.telemetry.slo_counts import Counts, Source, Tally
from stack.telemetry.slo_judge import find_shared_engines, is_kept, judge
from stack.telemetry.slo_promql import LatencyObjective
from stack.telemetry.slo_rules import Objectives

ONE, OTHER = Source("vllm", "a", "m"), Source("vllm", "a", "n")
AWAY = Source("vllm", "b", "n")


def make_objectives(**changes) -> Objectives:
    values = {
        "window": "14d", "minimum_requests": 20, "availability": 0.9, "latencies": (LatencyObjective("e2e", 60.0, 0.9),)
    }  # fmt: skip
    return Objectives(**(values | changes))


def judge_one(finished=None, tally=None, refused=0.0, **changes):
    counts = Counts(
        (ONE,),
        finished={} if finished is None else {ONE: finished},
        refused={ONE.engine: refused},
        tallies={"e2e": {} if tally is None else {ONE: tally}},
    )
    return judge(counts, make_objectives(**changes))[1].outcomes


@pytest.mark.parametrize(
    ("finished", "refused", "verdict", "share"),
    [
        ({"stop": 90, "error": 10}, 0, "kept", 0.9),
        ({"stop": 89, "error": 11}, 0, "missed", 0.89),
        ({"stop": 90, "error": 5}, 6, "missed", 90 / 101),
        ({"stop": 90, "error": 10, "abort": 900}, 0, "kept", 0.9),
        ({"stop": 10, "error": 9}, 0, "few", 10 / 19),
        ({"stop": 20}, 0, "kept", 1.0),
        ({"stop": 19.6}, 0, "kept", 1.0),
        ({"stop": 0, "error": 0}, 0, "idle", None),
        ({"abort": 900}, 0, "idle", None),
        (None, 0, "unknown", None),
    ],
)
def test_availability_is_judged(finished, refused, verdict, share):
    outcome = judge_one(finished, refused=refused)[0]
    assert outcome.verdict == verdict
    assert outcome.share == (None if share is None else pytest.approx(share))


@pytest.mark.parametrize(
    ("tally", "verdict", "share", "budget"),
    [
        (Tally(100, 90, 100), "kept", 0.9, 0.0),
        (Tally(100, 95, 100), "kept", 0.95, 0.5),
        (Tally(100, 70, 100), "missed", 0.7, -2.0),
        (Tally(1000, 0, 5), "few", 0.0, -9.0),
        (Tally(0, 0, 0), "idle", None, None),
        (Tally(100, None, 100, (0.5, 1.0)), "unknown", None, None),
        (Tally(100, 100.2, 100), "kept", 1.0, 1.0),
    ],
)
def test_a_latency_is_judged(tally, verdict, share, budget):
    outcome = judge_one({"stop": 100}, tally)[1]
    assert outcome.verdict == verdict
    assert (outcome.share, outcome.budget_left) == (
        None if share is None else pytest.approx(share),
        None if budget is None else pytest.approx(budget, abs=1e-9),
    )


def test_a_missing_bound_is_told_with_those_there_are():
    outcome = judge_one({"stop": 100}, Tally(100, None, 100, (0.5, 1.0)))[1]
    assert outcome.note == "the histogram of a has no bound at 60 s, only at 0.5, 1"


def test_where_one_engine_lacks_the_bound_the_others_are_judged_and_it_is_told():
    tallies = {"e2e": {OTHER: Tally(100, None, 100, (0.5,)), AWAY: Tally(50, 49, 50)}}
    total, _ = judge(Counts((OTHER, AWAY), tallies=tallies), make_objectives())
    assert (total.outcomes[1].events, total.outcomes[1].bad, total.outcomes[1].verdict) == (50, 1, "kept")
    assert "the histogram of a has no bound" in total.outcomes[1].note


def test_engines_are_summed_and_models_stand_by_themselves():
    counts = Counts(
        (ONE, OTHER, AWAY),
        finished={ONE: {"stop": 100}, OTHER: {"stop": 30}, AWAY: {"stop": 10, "error": 10}},
        prompt_tokens={OTHER: 5, AWAY: 7},
        busy_seconds={None: 100, "n": 60},
    )
    parts = {part.model: part for part in judge(counts, make_objectives())}
    assert list(parts) == [None, "m", "n"]
    assert parts["n"].traffic.finished == {"stop": 40, "error": 10}
    assert (parts["n"].traffic.prompt_tokens, parts["n"].traffic.busy_seconds) == (12, 60)
    assert parts[None].traffic.answered == 150
    verdicts = {model: part.outcomes[0].verdict for model, part in parts.items()}
    assert verdicts == {None: "kept", "m": "kept", "n": "missed"}
    assert is_kept(list(parts.values())) is False


def test_refused_answers_of_an_engine_that_served_two_models_count_for_all_together_only():
    counts = Counts((ONE, OTHER, AWAY), refused={ONE.engine: 3, AWAY.engine: 2})
    parts = {part.model: part.traffic.refused for part in judge(counts, make_objectives())}
    assert parts == {None: 5, "m": 0, "n": 2}
    assert find_shared_engines(counts) == {ONE.engine: 3}


def test_nothing_can_be_said_where_no_engine_was_seen_or_all_is_idle():
    assert judge(Counts(()), make_objectives()) == ()
    assert is_kept(()) is None
    idle = judge(Counts((ONE,), finished={ONE: {"stop": 0}}), make_objectives())
    assert is_kept(idle) is None
