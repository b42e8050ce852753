"""How many tokens a second the engine gives while the observability services run and while they are paused."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

PROMPT = "A short story of a lighthouse, and of the people who kept its lamp burning through the winter: "
REQUEST_SECONDS = 600.0


@dataclass(frozen=True)
class Load:
    """A fixed work: so many clients, each with one request after another, of so many tokens and not one fewer."""

    model: str
    clients: int = 16
    tokens: int = 96


@dataclass(frozen=True)
class Window:
    """Some seconds under the load.

    Attributes:
        has_services: Whether the services ran meanwhile.
        tokens: How many tokens came.
        seconds: How long it was.
        cpu_seconds: CPU time that the services took.
    """

    has_services: bool
    tokens: float
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
    """Give between which two of the values the true median lies, 19 times of 20 where there are six.

    The order statistics of the sign test, in the normal approximation.
    """
    ordered, count = sorted(values), len(values)
    rank = max(0, round(count / 2 - 0.98 * count**0.5) - 1)
    return ordered[rank], ordered[count - 1 - rank]


def run_windows(
    read_tokens: Callable[[], float],
    seconds: float,
    pairs: int,
    *,
    switch: Callable[[bool], None],
    count_cpu: Callable[[], float],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Window]:
    """Watch the engine under load in turns with and without the services; a window before them warms up.

    Args:
        read_tokens: Gives how many tokens the engine has made.
        seconds: How long each window is.
        pairs: How many pairs of different kinds.
        switch: Lets the services run, or pauses them.
        count_cpu: Gives the CPU seconds that the services have taken.
        clock: Seconds that only grow.
        sleep: Waits for seconds.
    """
    sleep(seconds)
    for has_services in plan_windows(pairs):
        switch(has_services)
        tokens, cpu, began = read_tokens(), count_cpu(), clock()
        sleep(seconds)
        made, taken = read_tokens() - tokens, clock() - began
        yield Window(has_services, made, taken, count_cpu() - cpu)


@contextmanager
def keep_busy(port: int, load: Load) -> Iterator[None]:
    """Have the clients ask from the first line inside to the last.

    Raises:
        RuntimeError: A request failed.
    """
    done = threading.Event()
    with ThreadPoolExecutor(load.clients) as pool:
        asked = [pool.submit(_ask_until, done, port, load, number) for number in range(load.clients)]
        try:
            yield
        finally:
            done.set()
    for one in asked:
        one.result()


def _ask_until(done: threading.Event, port: int, load: Load, number: int) -> None:
    body = {"model": load.model, "prompt": PROMPT, "max_tokens": load.tokens, "seed": number, "ignore_eos": True}
    while not done.is_set():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=REQUEST_SECONDS)
        try:
            connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise RuntimeError(f"the engine answered {response.status}: {text.decode(errors='replace')}")


def share_cpu(windows: Sequence[Window], cores: int) -> list[float]:
    """Give, for each window with the services, the share of the machine's CPU time that they took."""
    return [one.cpu_seconds / one.seconds / cores for one in windows if one.has_services]
