"""Near ties."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.checks.near_tie import NEAR_TIE_NATS, compare_greedy


@dataclass(frozen=True)
class Token:
    token: str
    logprob: float = -0.1
    top: dict = field(default_factory=dict)


def run_of(*tokens):
    return [Token(token, -0.1, {token: -0.1, "far": -6.0}) for token in tokens]


def test_the_same_tokens_did_not_part():
    parting = compare_greedy(run_of("a", "b"), run_of("a", "b"))

    assert (parting.index, parting.is_fine) == (None, True)
    assert parting.describe() == "the same text"


def test_two_tokens_that_were_nearly_tied_in_either_run_are_fine():
    # The demo model at "What is the capital of France?": eager -1.81 against -1.93, compiled both -1.91.
    eager = [Token("The", -1.81, {"The": -1.81, "L": -1.93})]
    compiled = [Token("L", -1.91, {"L": -1.91, "The": -1.91})]

    parting = compare_greedy(eager, compiled)

    assert parting.index == 0
    assert parting.gap_nats == pytest.approx(0.0)
    assert parting.is_fine
    assert parting.describe() == "parted at token 1, a near tie (gap 0.00 nats)"


def test_two_tokens_far_apart_are_not_fine():
    first = [Token("Paris", -0.1, {"Paris": -0.1, "Berlin": -5.0})]
    second = [Token("Berlin", -0.2, {"Berlin": -0.2, "Paris": -4.0})]

    parting = compare_greedy(first, second)

    assert not parting.is_fine
    assert parting.gap_nats == pytest.approx(3.8)


def test_a_rival_that_is_not_among_the_likeliest_is_below_them_all():
    first = [Token("Paris", -0.1, {"Paris": -0.1, "Rome": -2.0})]

    parting = compare_greedy(first, [Token("xyz", -9.0, {})])

    assert parting.gap_nats == pytest.approx(1.9)
    assert not parting.is_fine


def test_an_early_end_is_fine_only_where_the_longer_run_was_undecided():
    sure = [*run_of("a"), Token("b", -0.1, {"b": -0.1, "<end>": -4.0})]
    torn = [*run_of("a"), Token("b", -0.8, {"b": -0.8, "<end>": -0.9})]

    assert not compare_greedy(run_of("a"), sure).is_fine
    assert compare_greedy(torn, run_of("a")).is_fine


def test_without_alternatives_nothing_is_known_and_nothing_is_fine():
    parting = compare_greedy([Token("a")], [Token("b")])

    assert (parting.gap_nats, parting.is_fine) == (None, False)
    assert "gap unknown" in parting.describe()


def test_an_empty_answer_against_a_sure_one_is_not_fine():
    assert not compare_greedy([], run_of("a")).is_fine
    assert compare_greedy([], []).is_fine


@given(st.lists(st.sampled_from("abc"), max_size=6), st.lists(st.sampled_from("abc"), max_size=6))
def test_the_order_of_the_runs_does_not_matter(first, second):
    there, back = (
        compare_greedy(run_of(*first), run_of(*second)),
        compare_greedy(run_of(*second), run_of(*first)),
    )

    assert (there.index, there.is_fine) == (back.index, back.is_fine)


@given(st.floats(0, 5))
def test_the_margin_decides(gap):
    first = [Token("a", -1.0, {"a": -1.0, "b": -1.0 - gap})]

    parting = compare_greedy(first, [Token("b", -1.0, {})])

    assert parting.is_fine == (parting.gap_nats <= NEAR_TIE_NATS)
