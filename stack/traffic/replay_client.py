"""Send records to an engine and note what comes back, and when."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import httpx2

from stack.traffic.record import Record, RecordedResponse
from stack.traffic.record_file import read_offsets
from stack.traffic.replay_body import Sending, build_sending
from stack.traffic.replay_exchange import exchange
from stack.traffic.schedule import Schedule, build_schedule

MAX_IN_FLIGHT = 512
"""Requests under way at once; what is due beyond that waits, which shows as lag. Bounds memory and sockets."""
GIVE_UP_AFTER = 20
"""So many requests in a row without any answer: the engine is gone, and the rest would say no more."""
# Below uvicorn's five: a connection that the server is about to close must not be used again.
_KEEP_ALIVE_SECONDS = 2.0


@dataclass(frozen=True)
class Observation:
    """What one sending gave.

    Attributes:
        index: The record's position in its file.
        custom_id: The record's name.
        response: What came back.
        sent_seconds: When it was sent, from the beginning of the replay.
        due_seconds: When it was due; None where it was sent as soon as there was room.
        itl_seconds: Times between streamed tokens.
        is_plain: Whether nothing was added to the body (or was and the engine refused it).
    """

    index: int
    custom_id: str
    response: RecordedResponse
    sent_seconds: float
    due_seconds: float | None = None
    itl_seconds: Sequence[float] = field(default=())
    is_plain: bool = True

    @property
    def lag_seconds(self) -> float | None:
        """Give how late it was sent."""
        return None if self.due_seconds is None else max(0.0, self.sent_seconds - self.due_seconds)


@dataclass(frozen=True)
class ReplayTarget:
    """The engine that records are sent to, and what may be changed in them on the way.

    Attributes:
        base_url: Where the engine listens, without `/v1`.
        api_key: The key's text, if the engine demands one.
        served_model: The model name for bodies that name one which is not in `known_models`; None: none is changed.
        known_models: Names that are sent as they are.
        asks_scores: Whether log-probabilities and token counts are asked for where that changes no answer.
        timeout_seconds: For a whole answer.
    """

    base_url: str
    api_key: str | None = field(default=None, repr=False)
    served_model: str | None = None
    known_models: frozenset[str] = frozenset()
    asks_scores: bool = True
    timeout_seconds: float = 600.0


@dataclass
class ReplayState:
    """How far a replay is; read it from any thread.

    Attributes:
        total: Records to send.
        sent: Requests that were sent.
        ended: Requests that came to an end.
        renamed: Model names that others were put in the place of, with the number of requests.
        gave_up: Whether the engine was gone and the rest was not sent.
    """

    total: int = 0
    sent: int = 0
    ended: int = 0
    renamed: Counter[str] = field(default_factory=Counter)
    gave_up: bool = False


def replay(
    target: ReplayTarget,
    records: Sequence[Record],
    *,
    schedule: Schedule | None = None,
    take: Callable[[Record, Observation], None] | None = None,
    state: ReplayState | None = None,
    transport: httpx2.AsyncBaseTransport | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> list[Observation]:
    """Send records and give what came back, in the order of the records.

    An engine that is gone ends the replay: then the last records have no observation.

    Args:
        target: The engine.
        records: What to send.
        schedule: When; None chooses by the records' offsets, and without them one after another.
        take: Takes each observation as it comes; then none is kept, and the list is empty.
        state: Kept up to date.
        transport: How requests travel; None: over the network.
        clock: Monotonic seconds.
        sleep: Waits.

    Raises:
        TraceError: The file of the records was changed meanwhile.
        ValueError: Some records have an offset and some have none.
        KeyboardInterrupt: What was under way is hung up on.
    """
    kept: list[Observation] = []
    replayer = _Replayer(
        target,
        records,
        schedule or build_schedule(read_offsets(records)),
        take or (lambda record, observation: kept.append(observation)),
        state or ReplayState(),
        clock,
        sleep,
    )
    asyncio.run(replayer.run(transport))
    return sorted(kept, key=lambda observation: observation.index)


class _Replayer:
    def __init__(
        self,
        target: ReplayTarget,
        records: Sequence[Record],
        schedule: Schedule,
        take: Callable[[Record, Observation], None],
        state: ReplayState,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._target, self._records, self._schedule, self._take = target, records, schedule, take
        self._clock, self._sleep = clock, sleep
        self._headers = {"Content-Type": "application/json"}
        if target.api_key:
            self._headers["Authorization"] = f"Bearer {target.api_key.strip()}"
        self._state, self._unanswered = state, 0
        state.total = len(schedule.order)
        self._began = 0.0

    async def run(self, transport: httpx2.AsyncBaseTransport | None) -> None:
        limits = httpx2.Limits(
            max_connections=None, max_keepalive_connections=MAX_IN_FLIGHT, keepalive_expiry=_KEEP_ALIVE_SECONDS
        )
        # The whole exchange has its own limit; a silence within it is no failure.
        timeout = httpx2.Timeout(None, connect=10.0)
        async with httpx2.AsyncClient(trust_env=False, timeout=timeout, limits=limits, transport=transport) as client:
            self._began = self._clock()
            try:
                async with asyncio.TaskGroup() as group:
                    if self._schedule.due_seconds is None:
                        await self._run_loop(client, group)
                    else:
                        await self._run_as_recorded(client, group, self._schedule.due_seconds)
            except BaseExceptionGroup as several:
                raise several.exceptions[0] from several

    async def _run_loop(self, client: httpx2.AsyncClient, group: asyncio.TaskGroup) -> None:
        waiting = iter(self._schedule.order)

        async def work() -> None:
            for index in waiting:
                if self._state.gave_up:
                    return
                record = self._records[index]
                await self._send(client, index, record, self._build(record), None)

        for _ in range(min(self._schedule.concurrency or MAX_IN_FLIGHT, MAX_IN_FLIGHT)):
            group.create_task(work())

    async def _run_as_recorded(
        self, client: httpx2.AsyncClient, group: asyncio.TaskGroup, due_seconds: Sequence[float]
    ) -> None:
        room = asyncio.Semaphore(MAX_IN_FLIGHT)

        async def send(index: int, record: Record, sending: Sending, due: float) -> None:
            try:
                await self._send(client, index, record, sending, due)
            finally:
                room.release()

        for index, due in zip(self._schedule.order, due_seconds, strict=True):
            # Read and built before it is due: a large body must not make it late.
            record = self._records[index]
            sending = self._build(record)
            await room.acquire()
            await self._sleep(max(0.0, due - (self._clock() - self._began)))
            if self._state.gave_up:
                return
            group.create_task(send(index, record, sending, due))

    def _build(self, record: Record) -> Sending:
        target = self._target
        sending = build_sending(
            record,
            served_model=target.served_model,
            known_models=target.known_models,
            asks_scores=target.asks_scores,
        )
        if sending.renamed is not None:
            self._state.renamed[sending.renamed] += 1
        return sending

    async def _send(
        self, client: httpx2.AsyncClient, index: int, record: Record, sending: Sending, due: float | None
    ) -> None:
        self._state.sent += 1
        sent = self._clock() - self._began
        is_plain = sending.plain is None
        response, gaps = await self._exchange(client, record, sending.body)
        if response.status == 400 and sending.plain is not None:
            # An engine may allow fewer scores than were asked for, or none; the request itself may be fine.
            is_plain = True
            sent = self._clock() - self._began if due is None else sent
            response, gaps = await self._exchange(client, record, sending.plain)
        self._state.ended += 1
        self._unanswered = self._unanswered + 1 if response.error == "no-answer" else 0
        self._state.gave_up |= self._unanswered >= GIVE_UP_AFTER
        self._take(record, Observation(index, record.custom_id, response, sent, due, gaps, is_plain))

    async def _exchange(
        self, client: httpx2.AsyncClient, record: Record, body: object
    ) -> tuple[RecordedResponse, list[float]]:
        return await exchange(
            client,
            self._target.base_url.rstrip("/") + record.url,
            record.url,
            body,  # type: ignore[arg-type]
            self._headers,
            timeout_seconds=self._target.timeout_seconds,
            hang_up_seconds=record.hang_up_seconds,
            clock=self._clock,
        )
