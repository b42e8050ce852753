"""How many values lie where, in little memory: percentiles of any number of durations. Pure."""

from __future__ import annotations

import math
from collections import Counter

_RATIO = 1.01
_LEAST = 1e-6


class Spread:
    """Counts values in steps of one per cent; what is below a microsecond counts as none.

    Attributes:
        count: How many values it took.
    """

    def __init__(self) -> None:
        self.count = 0
        self._steps: Counter[int] = Counter()
        self._largest = 0.0

    def take(self, value: float | None) -> None:
        """Take a value; None is passed over."""
        if value is None:
            return
        self.count += 1
        self._largest = max(self._largest, value)
        self._steps[math.ceil(math.log(value / _LEAST, _RATIO)) if value > _LEAST else -1] += 1

    def find_percentile(self, percent: float) -> float | None:
        """Give the value that so many per cent are not above, up to one per cent too large; None without values."""
        rank, seen = max(1, math.ceil(self.count * percent / 100)), 0
        for step in sorted(self._steps):
            seen += self._steps[step]
            if seen >= rank:
                return 0.0 if step < 0 else min(self._largest, _LEAST * _RATIO**step)
        return None
