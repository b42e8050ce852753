"""One request and its answer over HTTP, with the times at which the answer came."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2

from stack.traffic.record import HUNG_UP, ROUTES, RecordedResponse, parse_answers
from stack.traffic.replay_fold import StreamFold
from stack.traffic.sse import DONE, EventReader


@dataclass
class _Coming:
    """An answer on its way; what is there when it breaks off is kept."""

    status: int | None = None
    is_stream: bool = False
    saw_done: bool = False
    received: bytearray = field(default_factory=bytearray)
    fold: StreamFold = field(default_factory=StreamFold)
    token_times: list[float] = field(default_factory=list)


async def exchange(
    client: httpx2.AsyncClient,
    base_url: str,
    path: str,
    body: Mapping[str, Any],
    headers: Mapping[str, str],
    *,
    timeout_seconds: float,
    hang_up_seconds: float | None,
    clock: Callable[[], float],
) -> tuple[RecordedResponse, list[float]]:
    """Send one request and give what came back, and the times between streamed tokens.

    Args:
        client: The HTTP client.
        base_url: Where the engine listens.
        path: The route, which also tells what the answer must look like.
        body: The request's JSON document.
        headers: Sent too.
        timeout_seconds: For the whole answer.
        hang_up_seconds: Close the connection so long after sending, whatever came.
        clock: Monotonic seconds.
    """
    coming = _Coming()
    began = clock()
    error, message = "", ""
    limit = timeout_seconds if hang_up_seconds is None else min(hang_up_seconds, timeout_seconds)
    try:
        async with asyncio.timeout(limit):
            await _receive(client, base_url + path, path, body, headers, coming, clock)
    except TimeoutError:
        error = HUNG_UP if limit == hang_up_seconds else "timed-out"
        message = f"no whole answer in {limit:g} s"
    except httpx2.ConnectError:
        error, message = "no-answer", "nothing listens there"
    except httpx2.HTTPError as err:
        error = "no-answer" if coming.status is None else "broken-off"
        message = f"the connection broke ({type(err).__name__})"
    except ValueError as err:
        error, message = "unreadable", str(err)
    gaps = [later - sooner for sooner, later in zip(coming.token_times, coming.token_times[1:], strict=False)]
    return _build_response(coming, path, error, message, clock() - began, began, gaps), gaps


async def _receive(
    client: httpx2.AsyncClient,
    url: str,
    path: str,
    body: Mapping[str, Any],
    headers: Mapping[str, str],
    coming: _Coming,
    clock: Callable[[], float],
) -> None:
    content = json.dumps(body).encode()
    async with client.stream("POST", url, content=content, headers=headers) as response:
        coming.status = response.status_code
        kind = response.headers.get("content-type", "")
        coming.is_stream = kind.startswith("text/event-stream") and ROUTES[path] != "other"
        reader = EventReader()
        async for part in response.aiter_bytes():
            if not coming.is_stream:
                coming.received += part
                continue
            for event in reader.feed(part):
                _take_event(coming, event, clock())
        for event in reader.close() if coming.is_stream else ():
            _take_event(coming, event, clock())


def _take_event(coming: _Coming, event: str, now: float) -> None:
    if event == DONE:
        coming.saw_done = True
    elif coming.fold.take(_parse_json(event)):
        coming.token_times.append(now)


def _build_response(
    coming: _Coming, path: str, error: str, message: str, seconds: float, began: float, gaps: list[float]
) -> RecordedResponse:
    body: Any = None
    if coming.is_stream:
        body = coming.fold.build_document()
        if not error and (coming.fold.error or not coming.saw_done):
            error, message = "broken-off", coming.fold.error or "the stream ended before its [DONE]"
    elif coming.received and not error:
        try:
            body = _parse_json(coming.received.decode())
        except ValueError as err:
            # A refusal may be a page or a word; what was to be an answer must be one.
            if coming.status == 200:
                error, message = "unreadable", str(err)
    answers = ()
    try:
        answers = parse_answers(path, coming.status, body) if body is not None else ()
        if coming.status == 200 and ROUTES[path] != "other" and not answers and not error:
            raise ValueError("an answer without a choice")
    except (ValueError, TypeError, AttributeError, KeyError) as err:
        error, message = error or "unreadable", message or str(err)
        body = None
    return RecordedResponse(
        coming.status,
        body,
        error,
        message,
        answers,
        duration_seconds=seconds,
        ttft_seconds=coming.token_times[0] - began if coming.token_times else None,
        itl_seconds=sum(gaps) / len(gaps) if gaps else None,
    )


def _parse_json(text: str) -> Any:
    def refuse(name: str) -> Any:
        raise ValueError(f"`{name}` is no JSON")

    return json.loads(text, parse_constant=refuse)
