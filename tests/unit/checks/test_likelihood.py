"""The arithmetic of scores."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.checks.likelihood import (
    compute_agreement,
    compute_cosine,
    compute_mean_nll,
    compute_uniform_nll,
    find_split,
    scramble_words,
)

logprobs = st.lists(st.floats(-50, 0), min_size=1, max_size=20)


def test_the_mean_is_over_tokens():
    assert compute_mean_nll([-1.0, -3.0]) == 2.0


@pytest.mark.parametrize("values", [[], [math.nan, -1.0]])
def test_nothing_and_what_is_no_number_have_no_mean(values):
    with pytest.raises(ValueError, match=r"no token|not a number"):
        compute_mean_nll(values)


def test_knowing_nothing_costs_the_logarithm_of_the_vocabulary():
    size = 49152

    assert compute_uniform_nll(size) == pytest.approx(compute_mean_nll([math.log(1 / size)] * 7))


def test_continuations_part_at_their_first_difference():
    assert find_split([5, 6, 7], [5, 6, 9, 9]) == 2


def test_a_continuation_that_is_the_start_of_the_other_parts_nowhere():
    with pytest.raises(ValueError, match="start of the other"):
        find_split([5, 6], [5, 6, 7])


@given(logprobs)
def test_a_scoring_agrees_with_itself(values):
    agreement = compute_agreement(values, values)

    assert (agreement.mean_difference, agreement.count) == (0, len(values))


@given(logprobs, st.floats(0.01, 3))
def test_a_shift_of_all_scores_is_the_mean_difference(values, shift):
    agreement = compute_agreement(values, [value - shift for value in values])

    assert agreement.mean_difference == pytest.approx(shift)
    assert agreement.largest_difference == pytest.approx(shift)


def test_impossible_is_impossible_whatever_figure_stands_for_it():
    assert compute_agreement([-9999.0], [-math.inf]).mean_difference == 0


@pytest.mark.parametrize(("first", "second"), [([], []), ([-1.0], [-1.0, -2.0]), ([math.nan], [-1.0])])
def test_what_cannot_be_compared_is_an_error(first, second):
    with pytest.raises(ValueError, match=r"against|not a number"):
        compute_agreement(first, second)


@given(st.lists(st.text("abc", min_size=1), min_size=1, max_size=30))
def test_scrambling_keeps_the_words_and_is_the_same_every_time(words):
    text = " ".join(words)

    assert sorted(scramble_words(text).split()) == sorted(words)
    assert scramble_words(text) == scramble_words(text)


def test_scrambling_changes_the_order():
    text = "one two three four five six seven eight"

    assert scramble_words(text) != text


def test_the_cosine_of_a_vector_with_itself_is_one_and_of_a_right_angle_zero():
    assert compute_cosine([3.0, 4.0], [6.0, 8.0]) == pytest.approx(1.0)
    assert compute_cosine([1.0, 0.0], [0.0, 2.0]) == 0.0


@pytest.mark.parametrize("other", [[1.0], [0.0, 0.0], [math.inf, 1.0], [math.nan, 1.0]])
def test_a_vector_without_direction_has_no_cosine(other):
    with pytest.raises(ValueError, match=r"dimensions|zero or not finite"):
        compute_cosine([1.0, 2.0], other)
