"""How fast an engine is, and when two of them may be told apart by that."""

import threading

import pytest

from stack.operations.upgrade.speed import CONCURRENCY, REQUESTS, TOKENS, Speed, compare_speeds, run_load
from stack.traffic.engine_answers import StreamChunk, Usage
from stack.traffic.engine_http import EngineApiError

# Tokens a second of SmolLM2-135M on two cores, eight requests at a time.
EAGER = Speed((171.2, 176.9, 179.3, 174.0, 178.8))


@pytest.mark.parametrize(
    ("new", "verdict", "said"),
    [
        (Speed((171.9, 176.0, 180.1, 173.3, 178.2)), "no verdict", "no verdict: -1% is no difference"),
        (Speed((160.2, 169.9, 182.0, 161.1, 162.3)), "no verdict", "no verdict: -8% is within what repeats scatter"),
        (Speed((151.0, 149.2, 150.4, 148.8, 152.6)), "slower", "-15%"),
        (Speed((251.0, 249.2, 250.4, 248.8, 252.6)), "faster", "+42%"),
        (Speed((251.0, 249.2)), "no verdict", "no verdict: +41%, but only 2 of 5 repeats fitted into 40 s"),
        (Speed(()), "no verdict", "no verdict: it was not measured on both"),
        (Speed((251.0,) * 5, is_disturbed=True), "no verdict", "no verdict: other requests ran"),
    ],
)
def test_a_verdict_needs_ranges_that_lie_apart(new, verdict, said):
    found = compare_speeds(EAGER, new)
    assert (found.verdict, found.said) == (verdict, said)


class FakeEngine:
    """Streams the tokens that are asked for; notes how many streams run at once, and which were hung up on."""

    def __init__(self, clock, fails=False, together=False):
        self.clock, self.fails, self.together = clock, fails, together
        self.lock = threading.Lock()
        self.barrier = threading.Barrier(CONCURRENCY)
        self.asked, self.closed, self.running, self.most = 0, 0, 0, 0

    def stream_completion(self, prompt, **options):
        assert options == {"max_tokens": TOKENS, "ignore_eos": True}
        with self.lock:
            self.asked += 1
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            if self.together:
                self.barrier.wait(30)
            if self.fails:
                raise EngineApiError("http://x", "it is gone")
            yield StreamChunk(0.0, text="a")
            self.clock.tick()
            yield StreamChunk(1.0, usage=Usage(3, TOKENS))
        except GeneratorExit:
            self.closed += 1
            raise
        finally:
            with self.lock:
                self.running -= 1


class Clock:
    """Each answer takes a second of it."""

    def __init__(self):
        self.now, self.lock = 0.0, threading.Lock()

    def tick(self):
        with self.lock:
            self.now += 1.0

    def __call__(self):
        return self.now


def test_each_repeat_gives_tokens_by_seconds_and_the_first_only_warms():
    clock = Clock()
    engine = FakeEngine(clock, together=True)
    assert run_load(engine, repeats=2, limit_seconds=1000, clock=clock) == (TOKENS, TOKENS)
    assert (engine.asked, engine.most) == (3 * REQUESTS, CONCURRENCY)


def test_a_repeat_that_the_limit_cuts_off_does_not_count():
    clock = Clock()
    engine = FakeEngine(clock)
    # Two repeats of sixteen seconds fit, the third does not.
    assert run_load(engine, repeats=5, limit_seconds=2 * REQUESTS + 4, clock=clock) == (TOKENS,)
    assert engine.asked <= 3 * REQUESTS


def test_an_engine_that_refuses_is_told():
    clock = Clock()
    with pytest.raises(EngineApiError):
        run_load(FakeEngine(clock, fails=True), clock=clock)
