"""A verdict must be given only where the repeats allow one, and equal engines must rarely get another than that."""

from __future__ import annotations

import itertools
import math
import random
import tracemalloc

import pytest

from stack.traffic.bench_compare import build_interval, count_arrangements, find_repeats, judge_figure

SEED = 5


def test_arrangements_are_those_of_every_order() -> None:
    few, many = 3, 4
    counted = [0] * (few * many + 1)
    for places in itertools.combinations(range(few + many), few):
        rest = [place for place in range(few + many) if place not in places]
        counted[sum(place > other for place in places for other in rest)] += 1
    assert list(count_arrangements(few, many)) == counted
    assert sum(counted) == math.comb(7, 3)


def test_many_repeats_are_counted_in_little_memory() -> None:
    count_arrangements.cache_clear()
    tracemalloc.start()
    try:
        counted = count_arrangements(40, 40)
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most_bytes < 1e6
    assert (sum(counted), counted) == (math.comb(80, 40), counted[::-1])


def test_three_against_three_reach_nine_in_ten_and_take_the_farthest_pairs() -> None:
    interval = build_interval([100, 101, 99], [120, 122, 118])
    assert interval is not None
    assert interval.level == pytest.approx(0.9)
    assert (interval.low, interval.high) == (118 / 101, 122 / 99)
    assert interval.ratio == pytest.approx(1.2)


def test_more_repeats_leave_out_the_farthest_pairs() -> None:
    interval = build_interval([100, 101, 99, 100.5, 99.5], [120, 122, 118, 150, 119])
    assert interval is not None
    assert 0.9 <= interval.level < 1
    assert interval.high < 150 / 99


def test_two_repeats_give_no_interval() -> None:
    assert build_interval([1, 2], [3, 4]) is None
    assert build_interval([0, 2, 3], [3, 4, 5]) is None


@pytest.mark.parametrize(
    ("old", "new", "is_more_better", "verdict"),
    [
        ([100, 101, 99], [120, 122, 118], True, "faster"),
        ([100, 101, 99], [120, 122, 118], False, "slower"),
        ([120, 122, 118], [100, 101, 99], True, "slower"),
        ([100, 101, 99], [100.2, 101.1, 99.3], True, "same"),
        ([100, 130, 80], [120, 150, 95], True, "no verdict"),
        # Apart, and yet no difference for anybody.
        ([100, 100.1, 99.9], [102, 106, 102.1], True, "no verdict"),
        ([100, 101], [120, 122, 118], True, "no verdict"),
        ([100, 101, 0], [120, 122, 118], True, "no verdict"),
    ],
)
def test_verdicts(old: list[float], new: list[float], is_more_better: bool, verdict: str) -> None:
    judged = judge_figure(old, new, is_more_better=is_more_better)
    assert judged.verdict == verdict
    assert judged.said.startswith(f"{verdict}: ")


def test_no_verdict_says_how_many_repeats_would_tell() -> None:
    few = judge_figure([100, 101], [120, 122, 118], is_more_better=True)
    assert few.said == "no verdict: 2 against 3 repeats, and 3 of each are the least"
    some = judge_figure([100, 112, 94], [110, 118, 101], is_more_better=True)
    assert some.repeats_wanted is not None
    assert f"about {some.repeats_wanted} repeats each would tell" in some.said
    wild = judge_figure([100, 500, 20], [110, 480, 30], is_more_better=True)
    assert (wild.repeats_wanted, "no sensible number" in wild.said) == (None, True)


def test_repeats_that_would_tell_are_never_fewer_than_there_are() -> None:
    wanted = find_repeats([100, 101, 99, 100], [104, 105, 103, 104])
    assert wanted is not None
    assert wanted > 4


@pytest.mark.parametrize("repeats", [3, 5, 8])
def test_equal_engines_are_told_apart_in_at_most_one_case_of_ten(repeats: int) -> None:
    dice = random.Random(SEED)
    wrong = 0
    for _ in range(2000):
        old, new = ([math.exp(dice.gauss(4.6, 0.2)) for _ in range(repeats)] for _ in range(2))
        wrong += judge_figure(old, new, is_more_better=True).verdict in ("faster", "slower")
    assert wrong / 2000 < 0.12


def test_a_large_difference_is_seen_by_five_repeats() -> None:
    dice = random.Random(SEED)
    seen = 0
    for _ in range(200):
        old = [dice.gauss(100, 3) for _ in range(5)]
        new = [dice.gauss(115, 3) for _ in range(5)]
        seen += judge_figure(old, new, is_more_better=True).verdict == "faster"
    assert seen > 190
