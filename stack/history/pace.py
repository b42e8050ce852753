"""How long a phase of a boot took before, and when it is worth saying that it takes longer now. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from stack.history.records import BootRecord

EARLIER_BOOTS = 5
"""More would hold on to times from before the disk, the driver or the desktop's load changed."""

_SLOWER = 3.0
_SLOWER_SECONDS = 10.0
# A busy machine easily doubles a phase, and three times a tenth of a second is nothing: both must be passed.

UNKNOWN_SECONDS = 120.0
"""Of a phase that no earlier boot tells of: longer than a warm boot's, shorter than anybody's patience."""

_AGAIN = 2.0


def find_earlier(boots: Sequence[BootRecord], phase: str, cache_state: str) -> list[float]:
    """Give how long a phase took in earlier boots, in seconds, in their order.

    Args:
        boots: Boots of the same kind that became ready.
        phase: The phase.
        cache_state: What this boot's log tells of the compile caches so far; a warm boot says nothing of a cold one.
    """
    alike = [boot for boot in boots if cache_state not in ("warm", "cold") or boot.cache_state == cache_state]
    return [boot.phases[phase] for boot in alike if phase in boot.phases]


def find_limit(earlier: Sequence[float]) -> float:
    """Give the seconds from which on a phase is far slower than it was."""
    if not earlier:
        return UNKNOWN_SECONDS
    usual = statistics.median(earlier)
    return max(_SLOWER * usual, usual + _SLOWER_SECONDS)


def describe_slow(phase: str, seconds: float, earlier: Sequence[float]) -> str:
    """Say it: `load takes longer than before (48 s; 12 s the last time)`."""
    if not earlier:
        return f"{phase} has taken {_say(seconds)} so far"
    usual = _say(statistics.median(earlier))
    times = "the last time" if len(earlier) == 1 else f"in the middle of the last {len(earlier)} times"
    return f"{phase} takes longer than before ({_say(seconds)}; {usual} {times})"


class SlowPhase:
    """Decides when a slow phase is told: once it is past its limit, then each time when it has doubled.

    Args:
        boots: Earlier boots of the same kind that became ready, the newest first.
    """

    def __init__(self, boots: Sequence[BootRecord]) -> None:
        self._boots = boots
        self._phase: str | None = None
        self._told_seconds = 0.0

    def note(self, phase: str, seconds: float, cache_state: str = "unknown") -> str | None:
        """Take how long the current phase has lasted; give what is to be said, or None.

        A phase is never told at first sight: its name and its time are read from a log that goes on.
        """
        if phase != self._phase:
            self._phase, self._told_seconds = phase, 0.0
            return None
        earlier = find_earlier(self._boots, phase, cache_state)
        if seconds < max(find_limit(earlier), self._told_seconds * _AGAIN):
            return None
        self._told_seconds = seconds
        return describe_slow(phase, seconds, earlier)


def _say(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
