"""Percentiles of any number of values."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from stack.traffic.spread import Spread


def test_without_values_there_is_no_percentile():
    spread = Spread()
    spread.take(None)
    assert (spread.count, spread.find_percentile(50)) == (0, None)


def test_no_time_at_all_is_a_value():
    spread = Spread()
    spread.take(0.0)
    assert (spread.count, spread.find_percentile(99)) == (1, 0.0)


@given(st.lists(st.floats(1e-5, 1e5), min_size=1, max_size=50), st.sampled_from([1, 50, 99, 100]))
def test_a_percentile_is_right_to_one_per_cent(values, percent):
    spread = Spread()
    for value in values:
        spread.take(value)
    exact = sorted(values)[max(1, math.ceil(len(values) * percent / 100)) - 1]
    assert exact * 0.999999 <= spread.find_percentile(percent) <= exact * 1.0100001
