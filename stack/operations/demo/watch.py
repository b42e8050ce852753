"""Look at the engine's page while a demo runs: the most that ran and waited, and which phase it is."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence

from stack.errors import ServiceApiError
from stack.operations.demo.tally import Peak
from stack.telemetry.exposition import Exposition
from stack.traffic.demo_plan import DemoPlan

_LOOK_SECONDS = 1.0
_RUNNING, _WAITING = "vllm:num_requests_running", "vllm:num_requests_waiting"
_USAGE = "vllm:kv_cache_usage_perc"


class DemoWatch:
    """Looks every second, in a thread of its own, between `with` and its end.

    Args:
        plan: Tells which phase it is.
        peaks: One for each phase; kept up to date.
        fetch: Gives the engine's page.
        tell: Called with the position of each phase that begins.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        plan: DemoPlan,
        peaks: Sequence[Peak],
        fetch: Callable[[], Exposition],
        tell: Callable[[int], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan, self._peaks, self._fetch, self._tell, self._clock = plan, peaks, fetch, tell, clock
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo-watch", daemon=True)
        self._began = 0.0

    def __enter__(self) -> DemoWatch:
        self._began = self._clock()
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._is_over.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        told = -1
        while not self._is_over.is_set():
            at = self._plan.find_span(self._clock() - self._began)
            # On a busy machine a look may take longer than a phase.
            for begun in range(told + 1, at + 1):
                self._tell(begun)
            told = max(told, at)
            try:
                page = self._fetch()
            except ServiceApiError:
                # The requests themselves tell of an engine that is gone.
                pass
            else:
                # Each engine has a cache of its own: the fullest counts.
                usages = filter(math.isfinite, (sample.value for sample in page.select(_USAGE)))
                self._peaks[at].take(page.total(_RUNNING), page.total(_WAITING), max(usages, default=None))
            left = self._plan.spans[at].end_seconds - (self._clock() - self._began)
            # The last phase lasts until all answers are there.
            self._is_over.wait(min(_LOOK_SECONDS, left) if left > 0 else _LOOK_SECONDS)


def wait_idle(
    fetch: Callable[[], Exposition],
    limit_seconds: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int | None:
    """Wait until nothing runs or waits on an engine; give what is left at the limit, or None if it does not tell."""
    deadline = clock() + limit_seconds
    while True:
        left = None
        try:
            page = fetch()
            left = int((page.total(_RUNNING) or 0) + (page.total(_WAITING) or 0))
        except ServiceApiError:
            pass
        if left == 0 or clock() >= deadline:
            return left
        sleep(0.2)
