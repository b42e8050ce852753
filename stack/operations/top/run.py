"""`stack top`: look at an engine again and again, and give what it does as one frame a look."""

from __future__ import annotations

import datetime
import itertools
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx2

from stack.checks.gpu_load import GpuLoad
from stack.errors import ServiceApiError, leave_out_login
from stack.operations.session import Session
from stack.operations.top.place import Place, Runs, build_finder, find_quietly
from stack.progress import ProgressEvent
from stack.telemetry.exposition import Exposition, fetch_exposition
from stack.telemetry.firing import SEVERITIES
from stack.telemetry.live import Live, build_live
from stack.telemetry.prometheus_api import Alert, PrometheusApi

_PLACE_EVERY_SECONDS = 10.0
_ALERTS_EVERY_SECONDS = 5.0
_ALERTS_TIMEOUT_SECONDS = 2.0
Wait = Callable[[float], bool]
"""Waits for seconds; True when whoever watches has seen enough."""


@dataclass(frozen=True)
class TopOptions:
    """What to watch, and for how long.

    Attributes:
        interval_seconds: The time between two looks.
        count: How many looks; None goes on until interrupted.
        engine: Any vLLM's address; None: this project's engine.
        prometheus: Any Prometheus' address; None: this project's.
    """

    interval_seconds: float = 2.0
    count: int | None = None
    engine: str | None = None
    prometheus: str | None = None


@dataclass(frozen=True)
class Silence:
    """An engine that does not answer.

    Attributes:
        since: When the first look failed.
        why: What came back, or what its container does.
    """

    since: datetime.datetime
    why: str


@dataclass(frozen=True)
class Alerts:
    """The alerts of a Prometheus.

    Attributes:
        active: Those that fire, the worst first, then those that are pending; None where nobody can be asked.
        why: Why nobody can be asked.
    """

    active: tuple[Alert, ...] | None
    why: str = ""


@dataclass(frozen=True)
class Frame:
    """What one look showed.

    Attributes:
        at: When, in UTC.
        url: The engine's address, without a login; None where no container of it runs.
        runs: What runs.
        live: What the engine does; None while it does not answer.
        silence: Since when and why it does not answer, or None.
        gpus: Its GPUs.
        alerts: The alerts.
    """

    at: datetime.datetime
    url: str | None
    runs: Runs
    live: Live | None
    silence: Silence | None
    gpus: tuple[GpuLoad, ...]
    alerts: Alerts


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def watch(
    session: Session,
    options: TopOptions,
    *,
    wait: Wait = _sleep,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
) -> Iterator[Frame]:
    """Give a frame at once, and then one each interval; an engine that does not answer is a frame, too.

    Raises:
        HostError: The daemon does not answer, and no engine is named.
        NotRunningError: No engine is named and this project's does not run.
    """
    find = build_finder(session, options.engine, options.prometheus)
    with httpx2.Client(trust_env=False) as http:
        watcher = Watcher(http, find, clock=clock, now=now)
        for number in itertools.count(1):
            began = clock()
            yield watcher.look()
            if number == options.count or wait(max(0.0, began + options.interval_seconds - clock())):
                return


def look_once(session: Session, options: TopOptions, *, wait: Wait = _sleep) -> Frame:
    """Look twice, and give what lies between.

    Raises:
        HostError: The daemon does not answer, and no engine is named.
        NotRunningError: No engine is named and this project's does not run.
        ServiceApiError: The engine does not answer, or was started anew between the looks.
    """
    find = build_finder(session, options.engine, options.prometheus)
    session.report(ProgressEvent("top", f"two looks, {options.interval_seconds:g} s apart"))
    with httpx2.Client(trust_env=False) as http:
        watcher = Watcher(http, find)
        frame = watcher.look()
        if frame.live is not None:
            wait(options.interval_seconds)
            frame = watcher.look()
    if watcher.error is not None:
        raise watcher.error
    if frame.live is not None and frame.live.restart is not None:
        url = watcher.place.engine or ""
        raise ServiceApiError("engine", url, f"it was started anew between the two looks ({frame.live.restart})")
    session.report(ProgressEvent("top", state="done"))
    return frame


def _describe(error: ServiceApiError) -> str:
    # The address stands above it, and nobody knows errors by their number.
    return re.sub(r"^\[Errno \d+\] ", "", error.message.partition(": ")[2])


class Watcher:
    """Looks at a place, and knows what the look before showed.

    Args:
        http: The client to ask with.
        find: Gives the place.
        clock: Seconds that only grow.
        now: The time, in UTC.

    Attributes:
        place: Where it looks.
        error: Why the last look failed, or None.
    """

    def __init__(
        self,
        http: httpx2.Client,
        find: Callable[[], Place],
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._http, self._find, self._clock, self._now = http, find, clock, now
        self.place = find()
        self.error: ServiceApiError | None = None
        self._placed_at = clock()
        self._page: tuple[float, Exposition] | None = None
        self._silent_since: datetime.datetime | None = None
        self._alerts: tuple[float, Alerts] | None = None

    def look(self) -> Frame:
        """Give what is seen now."""
        if self.error is not None or self._clock() - self._placed_at >= _PLACE_EVERY_SECONDS:
            self._find_again()
        live = self._measure()
        if self.error is not None and self.place.trouble is None:
            # A container that ended a moment ago tells more than a refused connection.
            self._find_again()
        at = self._now()
        silence = None
        if self.error is not None:
            self._silent_since = self._silent_since or at
            silence = Silence(self._silent_since, self.place.trouble or _describe(self.error))
        else:
            self._silent_since = None
        url = leave_out_login(self.place.engine) if self.place.engine is not None else None
        return Frame(at, url, self.place.runs, live, silence, self.place.read_gpus(), self._look_at_alerts())

    def _find_again(self) -> None:
        self.place = find_quietly(self._find, self.place)
        self._placed_at = self._clock()

    def _measure(self) -> Live | None:
        try:
            if self.place.engine is None:
                raise ServiceApiError("engine", "this project", self.place.trouble or "it does not run")
            page = fetch_exposition(self._http, f"{self.place.engine}/metrics")
        except ServiceApiError as err:
            # Whatever answers next may be another process: it is measured anew.
            self.error, self._page = err, None
            return None
        read_at, before = self._clock(), self._page
        self.error, self._page = None, (read_at, page)
        if before is None:
            return build_live(None, page, 0.0)
        return build_live(before[1], page, read_at - before[0])

    def _look_at_alerts(self) -> Alerts:
        if self._alerts is None or self._clock() - self._alerts[0] >= _ALERTS_EVERY_SECONDS:
            self._alerts = (self._clock(), self._fetch_alerts())
        return self._alerts[1]

    def _fetch_alerts(self) -> Alerts:
        if self.place.prometheus is None:
            return Alerts(None, "no Prometheus runs" if self.place.runs.project else "no `--prometheus` is named")
        api = PrometheusApi(self._http, self.place.prometheus, timeout_seconds=_ALERTS_TIMEOUT_SECONDS)
        try:
            found = api.fetch_alerts()
        except ServiceApiError:
            return Alerts(None, "Prometheus does not answer")
        return Alerts(tuple(sorted(found, key=_rank)))


def _rank(alert: Alert) -> tuple[bool, int, str]:
    severity = alert.labels.get("severity")
    rank = SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)
    return alert.state != "firing", rank, alert.active_at
