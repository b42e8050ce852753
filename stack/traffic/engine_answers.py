"""What vLLM's OpenAI routes answer, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Usage:
    """How many tokens a request took, as the engine counted them."""

    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class ScoredToken:
    """One token with its log-probability.

    Attributes:
        token: The token id as text where the engine tells it, else the token's own text.
        logprob: Natural logarithm of its probability, given all tokens before it.
        top: The likeliest tokens at this position, the token itself among them.
    """

    token: str
    logprob: float
    top: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """One generated text and all that the engine said about it.

    Attributes:
        text: What was generated (without the reasoning, where the engine parts them).
        finish_reason: `stop`, `length`, `abort`, ... or None while unfinished.
        usage: Token counts; None where the engine sent none, and for all but the first of many prompts.
        tokens: The generated tokens with their scores, where log-probabilities were asked for.
        prompt_tokens: The prompt's tokens with their scores (the first has none), where asked for.
        token_ids: The generated token ids, where asked for.
        prompt_token_ids: The prompt's token ids, where asked for.
        reasoning: What a reasoning parser took out of the text.
        tool_calls: The name and the arguments of each function that the model called.
        request_id: The engine's id of the request.
        duration_seconds: From sending to the last byte, by the client's clock.
    """

    text: str
    finish_reason: str | None
    usage: Usage | None = None
    tokens: tuple[ScoredToken, ...] = ()
    prompt_tokens: tuple[ScoredToken | None, ...] = ()
    token_ids: tuple[int, ...] = ()
    prompt_token_ids: tuple[int, ...] = ()
    reasoning: str = ""
    tool_calls: tuple[tuple[str, str], ...] = ()
    request_id: str = ""
    duration_seconds: float = 0.0


@dataclass(frozen=True)
class ModelCard:
    """One entry of `/v1/models`."""

    id: str
    root: str | None = None
    max_model_len: int | None = None


@dataclass(frozen=True)
class StreamChunk:
    """One event of a stream: new text, the end of the text, usage, or `[DONE]`.

    Attributes:
        at_seconds: When it came, counted from the sending of the request.
    """

    at_seconds: float
    text: str = ""
    reasoning: str = ""
    tokens: tuple[ScoredToken, ...] = ()
    token_ids: tuple[int, ...] = ()
    prompt_token_ids: tuple[int, ...] = ()
    finish_reason: str | None = None
    usage: Usage | None = None
    request_id: str = ""
    is_done: bool = False


@dataclass(frozen=True)
class FirstToken:
    """Whether the engine gave a first token: seconds it took, or the reason why there is none."""

    seconds: float | None
    reason: str = ""
