"""The registry's rules, and what makes a baseline."""

from __future__ import annotations

import pytest

from stack.checks.finding import Baseline, Finding
from stack.checks.smoke.baseline import JUDGES, LEAST_TOLERANCE_NATS, build_baseline, compare_with_baseline
from stack.checks.smoke.check import Check, run_side_by_side
from stack.checks.smoke.check_chat_template import count_common_end
from stack.checks.smoke.registry import _demand_consistent, load_checks


def check(name, order, **options):
    return Check(name, lambda context: None, order, **options)


def test_the_registry_is_consistent():
    assert len(load_checks()) >= 18


@pytest.mark.parametrize(
    "checks",
    [
        [check("a", 1), check("a", 2)],
        [check("a", 1), check("b", 1)],
        [check("a", 1, needs=("b",)), check("b", 2)],
        [check("a", 1, lane="side"), check("b", 2, needs=("a",))],
    ],
)
def test_checks_that_cannot_be_ordered_are_refused(checks):
    with pytest.raises(ValueError, match="check `"):
        _demand_consistent(checks)


def findings(**status):
    return [Finding(name, status.get(name, "pass"), "") for name in JUDGES]


def test_a_baseline_takes_its_tolerance_from_repeats_but_no_less_than_rounding_needs():
    measured = {"nll": {"quiet": 3.0, "noisy": 2.0}, "nll_spread": {"quiet": 0.001, "noisy": 0.05}}

    baseline = build_baseline("rev", measured, findings())

    assert baseline.values == {"quiet": 3.0, "noisy": 2.0}
    assert baseline.tolerance == {"quiet": LEAST_TOLERANCE_NATS, "noisy": pytest.approx(0.2)}


@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize("status", ["fail", "skip", "warn"])
def test_a_run_that_was_not_judged_right_is_no_baseline(judge, status):
    assert build_baseline("rev", {"nll": {"a": 1.0}}, findings(**{judge: status})) is None


def test_nothing_measured_is_no_baseline():
    assert build_baseline("rev", {}, findings()) is None


def test_only_what_left_its_tolerance_is_told():
    baseline = Baseline("rev", {"a": 3.0, "b": 2.0, "gone": 1.0}, {"a": 0.04, "b": 0.04})

    apart = compare_with_baseline(baseline, {"a": 3.03, "b": 2.3, "new": 9.0})

    assert apart == {"b": pytest.approx(0.3)}


def test_the_common_end_of_two_turns_is_counted():
    assert count_common_end([1, 5, 2, 198], [3, 9, 9, 2, 198]) == 2
    assert count_common_end([1], [2]) == 0
    assert count_common_end([1, 2], [1, 2]) == 2


def test_work_side_by_side_comes_back_in_order_and_raises_what_was_raised():
    assert run_side_by_side(lambda item: item * 2, [3, 1, 2]) == [6, 2, 4]
    assert run_side_by_side(lambda item: item, []) == []

    with pytest.raises(ZeroDivisionError):
        run_side_by_side(lambda item: 1 // item, [1, 0])
