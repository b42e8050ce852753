"""`stack chat`: one prompt, or a conversation, streamed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from stack.errors import NotRunningError
from stack.operations.engine_client import build_engine
from stack.operations.session import Session
from stack.operations.status.read import read_status
from stack.traffic.engine_answers import StreamChunk
from stack.traffic.engine_client import EngineClient

# Whoever follows the answer ends a silence that means nothing, not the connection: a long prompt takes its time.
_STREAM_SECONDS = 3600.0


def connect_chat(session: Session) -> EngineClient:
    """Give a client of the engine that runs.

    Raises:
        NotRunningError: None runs.
    """
    status = read_status(session)
    if not status.is_serving or "engine" not in status.ports:
        raise NotRunningError("engine", session.project)
    return build_engine(session, status.ports["engine"], status.served_name, timeout_seconds=_STREAM_SECONDS)


class Conversation:
    """What was said so far, and the next answer.

    Args:
        engine: Who answers.
        system: A system prompt, or None.
        max_tokens: The longest answer in tokens, or None for the engine's own limit.
        temperature: The sampling temperature, or None for the model's own.
        follow: Passes an answer on, and may say what it waits for.
    """

    def __init__(
        self,
        engine: EngineClient,
        *,
        system: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        follow: Callable[[Iterator[StreamChunk]], Iterator[StreamChunk]] = iter,
    ) -> None:
        self._engine, self._follow = engine, follow
        self._options = {"max_tokens": max_tokens, "temperature": temperature}
        self.messages: list[dict[str, str]] = [{"role": "system", "content": system}] if system else []

    def ask(self, prompt: str) -> Iterator[str]:
        """Give the answer piece by piece; both become part of the conversation when it is complete."""
        asked = [*self.messages, {"role": "user", "content": prompt}]
        options = {name: value for name, value in self._options.items() if value is not None}
        pieces = []
        for chunk in self._follow(self._engine.stream_chat(asked, **options)):
            if chunk.text:
                pieces.append(chunk.text)
                yield chunk.text
        self.messages = [*asked, {"role": "assistant", "content": "".join(pieces)}]


def run_repl(conversation: Conversation, read: Callable[[], str | None], write: Callable[[str], None]) -> None:
    """Ask and answer until the input ends or the user says `/exit`; `/new` forgets what was said.

    Args:
        conversation: The conversation.
        read: Gives the next line, or None at the end.
        write: Takes each piece of an answer.
    """
    start = list(conversation.messages)
    while (line := read()) is not None:
        prompt = line.strip()
        if prompt in ("/exit", "/quit"):
            return
        if prompt == "/new":
            conversation.messages = list(start)
        elif prompt:
            for piece in conversation.ask(prompt):
                write(piece)
            write("\n")
