"""One recorded request with what was answered to it, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stack.traffic.engine_answers import Answer
from stack.traffic.engine_wire import TOKEN_ID_MARK, parse_chats, parse_completions

# What a file may ask for. Whoever wrote it may be a stranger, and the engine has routes that load adapters,
# scale, pause or put it to sleep. Source: the routes of vLLM 0.32 that take a request and compute an answer.
ROUTES: Mapping[str, str] = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completion",
    "/v1/chat/completions/batch": "chat",
    "/v1/responses": "other",
    "/v1/messages": "other",
    "/v1/embeddings": "other",
    "/v2/embed": "other",
    "/pooling": "other",
    "/classify": "other",
    "/score": "other",
    "/v1/score": "other",
    "/rerank": "other",
    "/v1/rerank": "other",
    "/v2/rerank": "other",
    "/tokenize": "other",
    "/detokenize": "other",
}
HUNG_UP = "hung-up"
# Below this vLLM takes the likeliest token (vllm/sampling_params.py, _SAMPLING_EPS).
_GREEDY_TEMPERATURE = 1e-5


@dataclass(frozen=True)
class RecordedResponse:
    """What an engine answered to one request; streamed answers are folded into the shape of unstreamed ones.

    Attributes:
        status: The HTTP status, or None where no answer came.
        body: The answer's JSON document, or None where there is none or it is no JSON.
        error: `no-answer`, `timed-out`, `broken-off`, `hung-up`, `unreadable`, or empty for a whole answer.
        error_message: The same in words.
        answers: The generated texts, on the routes that generate.
        duration_seconds: From sending to the last byte.
        ttft_seconds: From sending to the first streamed token; None when not streamed.
        itl_seconds: Mean time between streamed tokens; None when not streamed.
    """

    status: int | None
    body: Any = None
    error: str = ""
    error_message: str = ""
    answers: tuple[Answer, ...] = ()
    duration_seconds: float | None = None
    ttft_seconds: float | None = None
    itl_seconds: float | None = None

    @property
    def finish_reason(self) -> str | None:
        """Give the first choice's end."""
        return self.answers[0].finish_reason if self.answers else None

    @property
    def text(self) -> str | None:
        """Give the first choice's text."""
        return self.answers[0].text if self.answers else None

    @property
    def is_broken(self) -> bool:
        """Tell whether the engine owed more than came: no answer, or not all of one."""
        return self.error not in ("", HUNG_UP)

    @property
    def names_tokens_by_id(self) -> bool | None:
        """Tell how scored tokens are named: by id, by their text, or (None) that none is scored."""
        found = find_first_scored(self.body)
        return None if found is None else found.startswith(TOKEN_ID_MARK)


@dataclass(frozen=True)
class Record:
    """One request as it was sent to an engine.

    Attributes:
        custom_id: Its name, unique in its file.
        method: `POST`.
        url: The route, `/v1/chat/completions`.
        body: The request's JSON document.
        offset_seconds: When it was sent, counted from any moment that all records share; None if not known.
        hang_up_seconds: The client went away so long after sending; None if it waited for the end.
        response: What was answered then; None if not known.
    """

    custom_id: str
    method: str
    url: str
    body: Mapping[str, Any]
    offset_seconds: float | None = None
    hang_up_seconds: float | None = None
    response: RecordedResponse | None = None

    @property
    def kind(self) -> str:
        """Tell what the route gives: `chat`, `completion` or `other`."""
        return ROUTES.get(self.url, "other")

    @property
    def is_streamed(self) -> bool:
        """Tell whether the answer was asked for as a stream."""
        return self.body.get("stream") is True

    @property
    def is_greedy(self) -> bool:
        """Tell whether the likeliest token is always taken; a body that does not say takes the model's own habit."""
        temperature = self.body.get("temperature")
        if self.body.get("use_beam_search") is True or self.body.get("top_k") == 1:
            return True
        return isinstance(temperature, int | float) and temperature < _GREEDY_TEMPERATURE

    @property
    def is_repeatable(self) -> bool:
        """Tell whether the same engine must give the same text again: greedy, or sampled with a seed."""
        return self.is_greedy or self.body.get("seed") is not None


def parse_answers(url: str, status: int | None, body: Any) -> tuple[Answer, ...]:
    """Read the generated texts out of an answer's document; none on other routes and in refusals.

    Raises:
        ValueError: The document has another shape.
    """
    kind = ROUTES.get(url, "other")
    if status != 200 or kind == "other":
        return ()
    return tuple(parse_chats(body) if kind == "chat" else parse_completions(body))


def find_first_scored(body: Any) -> str | None:
    """Give the name of the first scored token of an answer's document, or None."""
    choices = body.get("choices") if isinstance(body, dict) else None
    for choice in choices or ():
        logprobs = choice.get("logprobs") or {}
        names = [entry["token"] for entry in logprobs.get("content") or ()] or logprobs.get("tokens") or []
        if names:
            return str(names[0])
    return None
