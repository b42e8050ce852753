from datetime import UTC, datetime

import pytest

from stack.history.pace import UNKNOWN_SECONDS, SlowPhase, describe_slow, find_earlier, find_limit
from stack.history.records import BootRecord, BootStart

START = BootStart("k", datetime(2026, 3, 4, tzinfo=UTC), None, "unknown", None, None, "sha256:1", "m", None, "cpu")


def boot(cache_state="unknown", **phases):
    return BootRecord(1, START, cache_state, sum(phases.values()), "ready", phases)


@pytest.mark.parametrize(
    ("earlier", "limit"),
    [([1.0], 11.0), ([4.0], 14.0), ([5.0], 15.0), ([60.0], 180.0), ([1.0, 60.0, 2.0], 12.0), ([], UNKNOWN_SECONDS)],
)
def test_a_phase_is_slow_at_three_times_and_ten_seconds_more_than_the_median(earlier, limit):
    assert find_limit(earlier) == limit


def test_a_cold_boot_is_compared_with_cold_ones_once_its_log_has_told():
    boots = [boot("warm", compile=9.0), boot("cold", compile=90.0), boot("warm", load=3.0)]
    assert find_earlier(boots, "compile", "unknown") == [9.0, 90.0]
    assert find_earlier(boots, "compile", "cold") == [90.0]
    assert find_earlier(boots, "compile", "warm") == [9.0]
    assert find_earlier(boots, "compile", "none") == [9.0, 90.0]


def test_what_is_said_names_now_and_before():
    assert describe_slow("load", 48.2, [12.0, 11.0, 30.0]) == (
        "load takes longer than before (48 s; 12 s in the middle of the last 3 times)"
    )
    assert describe_slow("load", 11.0, [0.94]) == "load takes longer than before (11 s; 0.9 s the last time)"
    assert describe_slow("load", 121.0, []) == "load has taken 121 s so far"


def note_all(slow, phase, seconds):
    return [second for second in seconds if slow.note(phase, float(second))]


def test_a_slow_phase_is_told_past_its_limit_and_then_whenever_it_has_doubled():
    slow = SlowPhase([boot(load=2.0)])
    assert note_all(slow, "load", range(1, 100)) == [12, 24, 48, 96]


def test_every_phase_has_its_own_limit_and_is_told_anew():
    slow = SlowPhase([boot(load=1.0, compile=20.0)])
    assert note_all(slow, "load", range(1, 15)) == [11]
    assert note_all(slow, "compile", range(1, 70)) == [60]
    assert note_all(slow, "graphs", range(1, 130)) == [120]


def test_a_phase_is_not_told_at_first_sight():
    # Its name may be newer than the time that came with it.
    slow = SlowPhase([boot(load=1.0, compile=1.0)])
    assert slow.note("load", 5.0) is None
    assert slow.note("compile", 30.0) is None
    assert slow.note("compile", 31.0) is not None
