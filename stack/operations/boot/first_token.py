"""Wait for the engine's first token, which is what readiness means."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from stack.containers.boot_log import Phase
from stack.errors import ServiceApiError
from stack.operations.boot.failure import describe_exit, describe_lateness
from stack.operations.boot.watch import BootWatch
from stack.traffic.engine_client import EngineClient

_PROBE_INTERVAL_SECONDS = 0.25
_HEALTHY = "healthy"


@dataclass(frozen=True)
class Boot:
    """A boot that ended in a first token.

    Attributes:
        phases: What it was made of, in order.
        total_seconds: From the container's start to the first token.
        cache_state: `warm`, `cold`, `none` or `unknown`, by the engine's own log.
        first_token_seconds: What the first request took.
    """

    phases: tuple[Phase, ...]
    total_seconds: float
    cache_state: str
    first_token_seconds: float


def wait_first_token(
    watch: BootWatch,
    engine: EngineClient,
    *,
    timeout_seconds: float,
    is_pooling: bool = False,
    describe_activity: Callable[[], str | None] = lambda: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Boot:
    """Wait until the engine gives a token, which is what readiness means.

    `describe_activity` says what the engine does, for whoever is told that it is not ready in time.

    Raises:
        ServiceExitedError: The container ended; its first cause and last lines are told.
        NotReadyError: Time ran out.
    """
    started = clock()
    said = "not asked yet"
    server_ready: float | None = None
    while True:
        if watch.has_ended():
            watch.note_exit()
            raise describe_exit(watch.read_end())
        if (waited_seconds := clock() - started) > timeout_seconds:
            phase, doing = watch.read_phase()[0], describe_activity()
            state = f"running, in phase `{phase}`" + (f", {doing}" if doing else "")
            raise describe_lateness(watch.read_end(), waited_seconds, state, said)
        if server_ready is None:
            said = _probe_health(engine)
            server_ready = watch.note_server_ready() if said == _HEALTHY else None
        if server_ready is not None:
            left_seconds = max(1.0, timeout_seconds - (clock() - started))
            token = engine.probe_first_token(is_pooling=is_pooling, timeout_seconds=min(60.0, left_seconds))
            if token.seconds is not None:
                return _finish(watch, server_ready, token.seconds)
            said = token.reason or said
        sleep(_PROBE_INTERVAL_SECONDS)


def _probe_health(engine: EngineClient) -> str:
    try:
        status = engine.fetch_raw("GET", "/health", timeout_seconds=2).status_code
    except ServiceApiError as err:
        return err.message
    return _HEALTHY if status == 200 else f"HTTP {status} on /health"


def _finish(watch: BootWatch, server_ready_seconds: float, first_token_seconds: float) -> Boot:
    total = watch.elapsed_seconds()
    served_at = watch.find_earlier_start()
    if served_at is not None:
        server_ready_seconds, total = served_at, served_at + first_token_seconds
    watch.is_over = True
    phases = watch.log.finish(server_ready_seconds, total)
    return Boot(phases, total, watch.log.cache_state, first_token_seconds)
