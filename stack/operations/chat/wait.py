"""Break the silence of an answer that does not come: say what the engine does, and end where it does nothing."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from stack.errors import ServiceApiError
from stack.telemetry.exposition import parse_exposition
from stack.traffic.engine_answers import StreamChunk
from stack.traffic.engine_client import EngineClient

# With the question about the engine's figures, less than the ten seconds that may pass in silence.
SILENCE_SECONDS = 6.0
_PROBE_SECONDS = 2.0
PATIENCE_SECONDS = 60.0
"""How long an engine may give no token and compute nothing."""

Came = StreamChunk | BaseException | None

_WORK = ("vllm:prompt_tokens_total", "vllm:generation_tokens_total", "vllm:iteration_tokens_total_sum")
_NEXT = "`stack logs engine` tells what it does; `stack down`, then `stack up`, starts it anew"


@dataclass(frozen=True)
class EngineSign:
    """What an engine's figures say of its work.

    Attributes:
        text: What it does, in words.
        work: How many tokens it has worked on since its start; None where it does not tell.
    """

    text: str
    work: float | None = None


def read_sign(engine: EngineClient) -> EngineSign:
    """Ask an engine for its figures; that it does not give them is a sign, too."""
    try:
        answer = engine.fetch_raw("GET", "/metrics", timeout_seconds=_PROBE_SECONDS)
    except ServiceApiError:
        return EngineSign("it does not answer /metrics either")
    try:
        page = parse_exposition(answer.text)
    except ServiceApiError:
        return EngineSign(f"it answers HTTP {answer.status_code} on /metrics")
    counts = [page.total(f"vllm:num_requests_{state}") for state in ("running", "waiting")]
    if None in counts:
        return EngineSign(f"it answers HTTP {answer.status_code} on /metrics, without figures")
    running, waiting = counts
    work = sum(page.total(name) or 0.0 for name in _WORK)
    return EngineSign(f"it has {running:.0f} requests in work and {waiting:.0f} waiting", work)


class StreamWatch:
    """Passes an answer on, and says what it waits for.

    Args:
        engine: Who answers.
        say: Takes a sentence for the user.
        silence_seconds: How long nothing is said.
        patience_seconds: How long the engine may do nothing.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        engine: EngineClient,
        say: Callable[[str], None],
        *,
        silence_seconds: float = SILENCE_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine, self._say, self._clock = engine, say, clock
        self._silence_seconds, self._patience_seconds = silence_seconds, patience_seconds

    def follow(self, chunks: Iterator[StreamChunk]) -> Iterator[StreamChunk]:
        """Give the chunks as they come.

        Raises:
            ServiceApiError: The engine failed, or neither answers nor computes any more.
        """
        came: queue.SimpleQueue[Came] = queue.SimpleQueue()
        is_left = threading.Event()
        threading.Thread(target=_read, args=(chunks, came, is_left), name="answer", daemon=True).start()
        try:
            yield from self._pass_on(came)
        finally:
            is_left.set()

    def _pass_on(self, came: queue.SimpleQueue[Came]) -> Iterator[StreamChunk]:
        count, began, last = 0, self._clock(), EngineSign("")
        moved_at = began
        while True:
            try:
                item = came.get(timeout=self._silence_seconds)
            except queue.Empty:
                sign = read_sign(self._engine)
                if last.work is not None and sign.work is not None and sign.work != last.work:
                    moved_at = self._clock()
                last = sign
                self._tell(count, self._clock() - began, self._clock() - moved_at, sign)
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            count, began = count + bool(item.text), self._clock()
            moved_at = began
            yield item

    def _tell(self, count: int, silent_seconds: float, idle_seconds: float, sign: EngineSign) -> None:
        what = "the next piece of the answer" if count else "the first token"
        if idle_seconds >= self._patience_seconds:
            said = (
                f"no token for {silent_seconds:.0f} s, and nothing was computed for {idle_seconds:.0f} s: {sign.text}"
            )
            raise ServiceApiError("engine", f"{self._engine.base_url}/v1/chat/completions", said, hint=_NEXT)
        # What came so far stands in an unfinished line.
        start = "\n" if count else ""
        self._say(f"{start}waiting for {what} for {silent_seconds:.0f} s: {sign.text}; Ctrl-C ends it")


def _read(chunks: Iterator[StreamChunk], came: queue.SimpleQueue[Came], is_left: threading.Event) -> None:
    try:
        for chunk in chunks:
            if is_left.is_set():
                break
            came.put(chunk)
    except BaseException as err:  # noqa: BLE001 - carried over to whoever follows
        came.put(err)
    else:
        came.put(None)
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
