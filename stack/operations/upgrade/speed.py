"""How many tokens a second an engine gives under a short load, and whether two engines differ in that."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Literal, Protocol

from stack.checks.smoke.batching import build_prompts
from stack.traffic.bench_compare import LEAST_CHANGE_RATIO, build_interval
from stack.traffic.engine_answers import StreamChunk

REQUESTS, CONCURRENCY, TOKENS, REPEATS = 16, 8, 48, 5
"""One repeat: 16 answers of 48 tokens, 8 at a time. More would keep the service away for longer than a boot."""

LIMIT_SECONDS = 40.0
_SURE = 0.99

Verdict = Literal["faster", "slower", "no verdict"]


class Streamer(Protocol):
    """What is needed of a client of the engine."""

    def stream_completion(self, prompt: str, **options: object) -> Iterator[StreamChunk]:
        """Stream one completion; closing the iterator hangs up."""


@dataclass(frozen=True)
class Speed:
    """What a load run measured.

    Attributes:
        tokens_per_second: Of each repeat.
        is_disturbed: Whether other requests ran when it began.
    """

    tokens_per_second: tuple[float, ...]
    is_disturbed: bool = False

    @property
    def median(self) -> float | None:
        """Give the median of the repeats, or None where there is none."""
        return statistics.median(self.tokens_per_second) if self.tokens_per_second else None


@dataclass(frozen=True)
class SpeedVerdict:
    """How two engines compare.

    Attributes:
        verdict: `no verdict` where what was measured does not tell.
        change_ratio: New median over old median, less one; None where one is missing.
        said: The verdict with its figure or reason.
    """

    verdict: Verdict
    change_ratio: float | None
    said: str


def compare_speeds(old: Speed, new: Speed) -> SpeedVerdict:
    """Compare two load runs: a verdict only where it is 99 % sure that they differ.

    Of five repeats each none may reach into the other's range then: twice in 252 cases two samples of one engine
    lie apart like that.
    """
    before, after = old.median, new.median
    if before is None or after is None or not before:
        return SpeedVerdict("no verdict", None, "no verdict: it was not measured on both")
    ratio = after / before - 1
    if old.is_disturbed or new.is_disturbed:
        return SpeedVerdict("no verdict", ratio, "no verdict: other requests ran")
    if abs(ratio) < LEAST_CHANGE_RATIO:
        return SpeedVerdict("no verdict", ratio, f"no verdict: {ratio:+.0%} is no difference")
    fewest = min(len(old.tokens_per_second), len(new.tokens_per_second))
    if fewest < REPEATS:
        said = f"no verdict: {ratio:+.0%}, but only {fewest} of {REPEATS} repeats fitted into {LIMIT_SECONDS:.0f} s"
        return SpeedVerdict("no verdict", ratio, said)
    interval = build_interval(old.tokens_per_second, new.tokens_per_second, _SURE)
    if interval is None or not interval.is_apart:
        return SpeedVerdict("no verdict", ratio, f"no verdict: {ratio:+.0%} is within what repeats scatter")
    return SpeedVerdict("faster" if ratio > 0 else "slower", ratio, f"{ratio:+.0%}")


def run_load(
    engine: Streamer,
    *,
    repeats: int = REPEATS,
    limit_seconds: float = LIMIT_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[float, ...]:
    """Stream answers side by side; give the tokens a second of each repeat after one that only warms.

    A repeat that the limit cuts off does not count, so a slow engine gives fewer, or none.

    Args:
        engine: The engine.
        repeats: How many are measured.
        limit_seconds: For everything; what streams then is hung up on.
        clock: Seconds that only grow.

    Raises:
        ServiceApiError: The engine refuses, or its answers cannot be read.
    """
    deadline = clock() + limit_seconds
    found: list[float] = []
    for _ in range(repeats + 1):
        began = clock()
        tokens = _run_once(engine, build_prompts(REQUESTS), lambda: clock() >= deadline)
        if clock() >= deadline:
            break
        found.append(tokens / max(clock() - began, 1e-9))
    return tuple(found[1:])


def _run_once(engine: Streamer, prompts: Sequence[str], is_over: Callable[[], bool]) -> int:
    stop = threading.Event()

    def answer(prompt: str) -> int:
        if stop.is_set() or is_over():
            return 0
        count = 0
        with closing(engine.stream_completion(prompt, max_tokens=TOKENS, ignore_eos=True)) as chunks:
            for chunk in chunks:
                count = chunk.usage.completion_tokens if chunk.usage is not None else count
                if stop.is_set() or is_over():
                    break
        return count

    with ThreadPoolExecutor(CONCURRENCY) as pool:
        try:
            return sum(pool.map(answer, prompts))
        except BaseException:
            stop.set()
            raise
