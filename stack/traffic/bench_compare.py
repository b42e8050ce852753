"""Whether two small samples of a figure differ by more than they scatter. Pure.

The ratio of two samples is told by all pairs of them: its estimate is their median (Hodges and Lehmann, 1963), and the
interval around it comes from the exact distribution of the Mann-Whitney statistic (Moses; Hollander and Wolfe,
*Nonparametric Statistical Methods*, 4.3), which asks nothing of how the values are distributed. It is as wide as few
repeats deserve: three against three give all that lies between the farthest pairs, and hold the true ratio in nine
cases of ten; two repeats give no interval at all.

Repeats of one boot do not see what changes from boot to boot: the interval says nothing of that.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

LEVEL = 0.9
"""How sure an interval must be: three repeats each can reach it, and no more."""
LEAST_REPEATS = 3
LEAST_CHANGE_RATIO = 0.05
"""What lies nearer is the same for whoever waits for an answer, however little it scatters."""
_MOST_REPEATS = 30
# Quantiles of the normal distribution: 90 % sure, and found in 80 of 100 cases.
_SURE, _POWER = 1.645, 0.842

Verdict = Literal["faster", "slower", "same", "no verdict"]


@dataclass(frozen=True)
class Interval:
    """Where the ratio of two samples lies.

    Attributes:
        ratio: New over old, the median of all pairs.
        low: The lower end.
        high: The upper end.
        level: How often such an interval holds the true ratio.
    """

    ratio: float
    low: float
    high: float
    level: float

    @property
    def is_apart(self) -> bool:
        """Tell whether equal speeds are outside."""
        return self.low > 1 or self.high < 1


@dataclass(frozen=True)
class Judged:
    """What a comparison of one figure came to.

    Attributes:
        verdict: Of the new one.
        interval: Of the ratio; None where there are too few values.
        said: The verdict with its figures or its reason.
        repeats_wanted: How many repeats each would likely tell; None where none is missing, or no number would help.
    """

    verdict: Verdict
    interval: Interval | None
    said: str
    repeats_wanted: int | None = None


def build_interval(old: Sequence[float], new: Sequence[float], level: float = LEVEL) -> Interval | None:
    """Give the interval of new over old; None where so few values cannot be as sure as that.

    Args:
        old: Values above 0.
        new: Values above 0.
        level: How sure it must be at least.
    """
    if not old or not new or min(*old, *new) <= 0:
        return None
    ratios = sorted(after / before for after in new for before in old)
    pairs = math.comb(len(old) + len(new), len(old))
    counts, below, cut = count_arrangements(len(old), len(new)), 0, 0
    # `cut` of the smallest and of the largest pairs are left out.
    while 2 * (below + counts[cut]) / pairs <= 1 - level + 1e-9:
        below, cut = below + counts[cut], cut + 1
    if not cut:
        return None
    return Interval(statistics.median(ratios), ratios[cut - 1], ratios[-cut], 1 - 2 * below / pairs)


# A comparison asks for the same one figure after figure.
@functools.lru_cache(maxsize=1)
def count_arrangements(few: int, many: int) -> tuple[int, ...]:
    """Give in how many orders of two samples the Mann-Whitney statistic has each value, from 0 to the product of sizes.

    These are the coefficients of a Gaussian binomial: a value more in one sample multiplies by `1 - q^(many + size)`
    and divides by `1 - q^size`.
    """
    counts = [1] + [0] * (few * many)
    for size in range(1, few + 1):
        for statistic in range(few * many, many + size - 1, -1):
            counts[statistic] -= counts[statistic - many - size]
        for statistic in range(size, few * many + 1):
            counts[statistic] += counts[statistic - size]
    return tuple(counts)


def judge_figure(old: Sequence[float], new: Sequence[float], *, is_more_better: bool) -> Judged:
    """Judge a figure: a verdict only where the whole interval lies on one side, or close around no change."""
    if min(len(old), len(new)) < LEAST_REPEATS:
        said = f"no verdict: {len(old)} against {len(new)} repeats, and {LEAST_REPEATS} of each are the least"
        return Judged("no verdict", None, said, LEAST_REPEATS)
    interval = build_interval(old, new)
    if interval is None:
        return Judged("no verdict", None, "no verdict: a repeat measured nothing")
    told = describe_interval(interval)
    if abs(interval.low - 1) <= LEAST_CHANGE_RATIO and abs(interval.high - 1) <= LEAST_CHANGE_RATIO:
        return Judged("same", interval, f"same: {told}")
    is_large = abs(interval.ratio - 1) >= LEAST_CHANGE_RATIO
    if interval.is_apart and is_large:
        verdict: Verdict = "faster" if (interval.ratio > 1) == is_more_better else "slower"
        return Judged(verdict, interval, f"{verdict}: {told}")
    why = "no larger than what repeats scatter" if is_large else "little, and repeats scatter more"
    wanted = find_repeats(old, new)
    more = f"; about {wanted} repeats each would tell" if wanted else "; no sensible number of repeats would tell"
    return Judged("no verdict", interval, f"no verdict: {told} is {why}{more}", wanted)


def describe_interval(interval: Interval) -> str:
    """Give a change in words, with its interval."""
    low, high = interval.low - 1, interval.high - 1
    return f"{interval.ratio - 1:+.1%} ({low:+.1%} to {high:+.1%}, {math.floor(interval.level * 100)} % sure)"


def find_repeats(old: Sequence[float], new: Sequence[float]) -> int | None:
    """Give how many repeats each would likely tell the difference that was seen, or None where more than 30.

    A difference below 5 % is asked about as one of 5 %: then that many would tell that it is none.
    """
    scatter = statistics.mean([statistics.stdev(values) / statistics.mean(values) for values in (old, new)])
    seen = max(abs(statistics.median(new) / statistics.median(old) - 1), LEAST_CHANGE_RATIO)
    # Ranks need about a twentieth more than a t test does.
    wanted = math.ceil(2 * ((_SURE + _POWER) * scatter / seen) ** 2 * 1.05)
    wanted = max(wanted, max(len(old), len(new)) + 1, LEAST_REPEATS)
    return wanted if wanted <= _MOST_REPEATS else None
