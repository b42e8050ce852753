"""A sweep must end where the engine has had enough, and say what shows it."""

from __future__ import annotations

from stack.traffic.bench_knee import MOST_STEPS, Step, find_knee, find_next_rate


def drive(*, capacity: float, ttft: float = 0.1, failed: int = 0) -> list[Step]:
    """Sweep an engine that answers so many a second; above that, requests wait."""
    steps: list[Step] = []
    while (rate := find_next_rate(steps, 2.0)) is not None:
        is_over = rate > capacity
        good = min(rate, capacity)
        steps.append(Step(rate, good, 64 * good, ttft * (20 if is_over and ttft else 1), failed if is_over else 0))
    return steps


def test_the_rate_grows_by_half_from_half_of_what_the_probe_was_answered() -> None:
    assert [step.rate for step in drive(capacity=4)] == [1.0, 1.5, 2.25, 3.38, 5.07]


def test_a_ttft_that_explodes_is_the_knee() -> None:
    knee = find_knee(drive(capacity=4))
    assert (knee.is_found, knee.step.rate if knee.step else None) == (True, 3.38)
    assert knee.why == "at 5.07 requests a second the p95 TTFT is 2 s, against 0.1 s before"


def test_one_jump_of_a_short_ttft_is_none() -> None:
    steps = [Step(1, 1, 64, 0.004), Step(1.5, 1.5, 96, 0.2)]
    assert find_next_rate(steps, 2.0) == 2.25


def test_answers_that_no_longer_grow_are_the_knee() -> None:
    steps = drive(capacity=4, ttft=0.0)
    knee = find_knee(steps)
    assert knee.step is not None
    assert knee.step.rate == 5.07
    assert knee.why == "at 7.61 requests a second 4 were answered in time, against 4 before"


def test_requests_without_an_answer_end_a_sweep() -> None:
    knee = find_knee(drive(capacity=1.2, failed=3))
    assert knee.step is not None
    assert knee.step.rate == 1.0
    assert knee.why == "at 1.5 requests a second 3 were not answered"


def test_a_first_rate_that_fails_has_no_knee() -> None:
    knee = find_knee(drive(capacity=0.5, failed=3))
    assert (knee.step, knee.is_found) == (None, True)
    assert knee.why.startswith("already the first rate is too much")


def test_a_rate_at_which_nothing_is_answered_in_time_is_no_knee() -> None:
    steps = [Step(0.5, 0, 10, 3)]
    assert find_next_rate(steps, 1.0) is None
    said = "already the first rate is too much: at 0.5 requests a second none was answered in time"
    for tried in (steps, [*steps, Step(0.75, 0, 12, 20)]):
        knee = find_knee(tried)
        assert (knee.step, knee.is_found, knee.why) == (None, True, said)


def test_a_sweep_that_finds_no_end_says_so() -> None:
    steps = drive(capacity=1e9)
    assert len(steps) == MOST_STEPS
    knee = find_knee(steps)
    assert (knee.is_found, knee.step) == (False, steps[-1])
    assert "no rate was too much" in knee.why
