"""Send records to an engine and note what comes back, and when."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import httpx2

from stack.traffic.observation import Observation, ReplayState, ReplayTarget
from stack.traffic.record import Record, RecordedResponse
from stack.traffic.record_file import read_offsets
from stack.traffic.replay_body import Sending, build_sending
from stack.traffic.replay_exchange import exchange
from stack.traffic.schedule import Schedule, build_schedule

__all__ = ["Observation", "ReplayState", "ReplayTarget", "replay"]

MAX_IN_FLIGHT = 512
"""Requests under way at once; what is due beyond that waits, which shows as lag. Bounds memory and sockets."""
GIVE_UP_AFTER = 20
"""So many requests in a row without any answer: the engine is gone, and the rest would say no more."""
# Below uvicorn's five: a connection that the server is about to close must not be used again.
_KEEP_ALIVE_SECONDS = 2.0
# A machine that loads a model may stand still for ten seconds and more, and the client with it.
_CONNECT_SECONDS = 30.0


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
    plan = schedule or build_schedule(read_offsets(records))
    keep = take or (lambda record, observation: kept.append(observation))
    replayer = _Replayer(target, records, plan, keep, state or ReplayState(), clock, sleep)
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
        timeout = httpx2.Timeout(None, connect=_CONNECT_SECONDS)
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
        self, client: httpx2.AsyncClient, record: Record, body: Mapping[str, Any]
    ) -> tuple[RecordedResponse, list[float]]:
        return await exchange(
            client,
            self._target.base_url.rstrip("/"),
            record.url,
            body,
            self._headers,
            timeout_seconds=self._target.timeout_seconds,
            hang_up_seconds=record.hang_up_seconds,
            clock=self._clock,
        )
