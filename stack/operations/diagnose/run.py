"""`stack diagnose`: two looks at an engine's metrics, and what limits it between them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx2

from stack.errors import NotRunningError
from stack.operations.diagnose.around import AroundProbe
from stack.operations.session import Session
from stack.operations.status.read import read_status
from stack.progress import ProgressEvent
from stack.telemetry.diagnosis.diagnose import Diagnosis, diagnose
from stack.telemetry.exposition import fetch_exposition

_TASK = "diagnose"
_TICK_SECONDS = 1.0
_SAY_EVERY_SECONDS = 5.0


@dataclass(frozen=True)
class Diagnosed:
    """What was found.

    Attributes:
        url: Whose page was looked at.
        seconds: What lies between the two looks.
        diagnoses: One for each model and rank of the engine.
    """

    url: str
    seconds: float
    diagnoses: tuple[Diagnosis, ...]


def run(
    session: Session,
    *,
    seconds: float,
    engine: str | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Diagnosed:
    """Look twice at an engine and say what limits it.

    Args:
        session: The run.
        seconds: The time between the looks.
        engine: Any vLLM's address; None: this project's engine, of which the daemon tells more.
        clock: Seconds that only grow.
        sleep: Waits for seconds.

    Raises:
        NotRunningError: No engine is named and this project's does not run.
        ServiceApiError: The engine does not answer, or not with metrics.
    """
    url, probe = (_build_url(engine), None) if engine is not None else _find_own(session)
    with httpx2.Client(trust_env=False) as http:
        before = fetch_exposition(http, url)
        began = clock()
        _wait(session, probe, seconds, clock, sleep)
        after = fetch_exposition(http, url)
        passed = clock() - began
    around = probe.finish() if probe is not None else None
    session.report(ProgressEvent(_TASK, f"two looks {passed:.1f} s apart", state="done"))
    return Diagnosed(url, passed, tuple(diagnose(before, after, passed, around)))


def _find_own(session: Session) -> tuple[str, AroundProbe]:
    client = session.connect()
    status = read_status(session, client)
    url = next((one.url for one in status.services if one.name == "engine" and one.state == "running"), None)
    if url is None:
        raise NotRunningError("engine", session.project, hint="stack up, or `--engine URL` for another one")
    return _build_url(url), AroundProbe(client, status.found["engine"])


def _build_url(address: str) -> str:
    return address.rstrip("/").removesuffix("/metrics") + "/metrics"


def _wait(
    session: Session,
    probe: AroundProbe | None,
    seconds: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> None:
    began, said = clock(), float("-inf")
    while (left := began + seconds - clock()) > 0:
        if clock() - said >= _SAY_EVERY_SECONDS:
            session.report(ProgressEvent(_TASK, f"the second look comes in {left:.0f} s"))
            said = clock()
        if probe is not None:
            probe.tick()
        sleep(min(_TICK_SECONDS, max(0.0, began + seconds - clock())))
