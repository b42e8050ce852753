"""How many tokens a second the engine gives while the observability services run and while they are paused."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

PROMPT = "A short story of a lighthouse, and of the people who kept its lamp burning through the winter: "
REQUEST_SECONDS = 600.0


@dataclass(frozen=True)
class Load:
    """A fixed work: so many requests for each client, one after another, each of so many tokens and not one fewer."""

    model: str
    clients: int
    requests: int
    tokens: int


@dataclass(frozen=True)
class Window:
    """One run of the load.

    Attributes:
        has_services: Whether the services ran meanwhile.
        tokens: How many tokens came.
        seconds: How long it took.
        cpu_seconds: CPU time that the services took.
    """

    has_services: bool
    tokens: int
    seconds: float
    cpu_seconds: float = 0.0

    @property
    def tokens_per_second(self) -> float:
        """Output tokens a second, of all clients together."""
        return self.tokens / self.seconds


def plan_windows(pairs: int) -> list[bool]:
    """Give which windows have the services: with, without, without, with, and so on.

    Neighbours make the pairs: so many of different kinds, which are the measurement, and one fewer of the same kind,
    which show what two windows differ by anyway. Both are taken in the same minutes, and in turns of order.
    """
    return [number % 4 in (0, 3) for number in range(2 * pairs)]


def compare_pairs(windows: Sequence[Window]) -> tuple[list[float], list[float]]:
    """Give neighbours' ratios of tokens a second: with to without, and of the same kind later to earlier."""
    measured, control = [], []
    for earlier, later in zip(windows, windows[1:], strict=False):
        if earlier.has_services == later.has_services:
            control.append(later.tokens_per_second / earlier.tokens_per_second)
        else:
            ours, plain = (earlier, later) if earlier.has_services else (later, earlier)
            measured.append(ours.tokens_per_second / plain.tokens_per_second)
    return measured, control


def bound_median(values: Sequence[float]) -> tuple[float, float]:
    """Give between which two of the values the true median lies, 19 times of 20; few values say nothing: all of them.

    The order statistics of the sign test, in the normal approximation.
    """
    ordered, count = sorted(values), len(values)
    rank = max(0, round(count / 2 - 0.98 * count**0.5) - 1)
    return ordered[rank], ordered[count - 1 - rank]


def run_windows(
    load: Callable[[], tuple[int, float]],
    pairs: int,
    *,
    switch: Callable[[bool], None],
    count_cpu: Callable[[], float],
) -> Iterator[Window]:
    """Run the load in turns with and without the services, once before that to warm up.

    Args:
        load: Runs it once; gives its tokens and seconds.
        pairs: How many pairs of different kinds.
        switch: Lets the services run, or pauses them.
        count_cpu: Gives the CPU seconds that the services have taken.
    """
    load()
    for has_services in plan_windows(pairs):
        switch(has_services)
        before = count_cpu()
        tokens, seconds = load()
        yield Window(has_services, tokens, seconds, count_cpu() - before)


def run_load(port: int, load: Load, clock: Callable[[], float] = time.perf_counter) -> tuple[int, float]:
    """Send all requests; give how many tokens came, and in how many seconds."""
    began = clock()
    with ThreadPoolExecutor(load.clients) as pool:
        tokens = sum(pool.map(lambda number: _complete(port, load, number), range(load.clients * load.requests)))
    return tokens, clock() - began


def _complete(port: int, load: Load, number: int) -> int:
    body = {"model": load.model, "prompt": PROMPT, "max_tokens": load.tokens, "seed": number, "ignore_eos": True}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=REQUEST_SECONDS)
    try:
        connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise RuntimeError(f"the engine answered {response.status}: {text.decode(errors='replace')}")
    return int(json.loads(text)["usage"]["completion_tokens"])


def share_cpu(windows: Sequence[Window], cores: int) -> list[float]:
    """Give, for each window with the services, the share of the machine's CPU time that they took."""
    return [one.cpu_seconds / one.seconds / cores for one in windows if one.has_services]
