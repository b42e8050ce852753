"""Reads the JSON that vLLM's OpenAI routes send: documents in, answers out, no I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from stack.traffic.engine_answers import Answer, ModelCard, ScoredToken, StreamChunk, Usage

TOKEN_ID_MARK = "token_id:"
# What vLLM writes for minus infinity, which JSON cannot hold.
LOWEST_LOGPROB = -9999.0


def parse_models(document: Any) -> list[ModelCard]:
    """Read the model cards out of a `/v1/models` answer.

    Raises:
        ValueError: The document has another shape.
    """
    try:
        return [ModelCard(str(card["id"]), card.get("root"), card.get("max_model_len")) for card in document["data"]]
    except (KeyError, TypeError, AttributeError) as err:
        raise ValueError("not a list of models") from err


def parse_completions(document: Any) -> list[Answer]:
    """Read the answers out of a `/v1/completions` document, in the order of their prompts.

    Raises:
        ValueError: The document has another shape.
    """
    try:
        choices = sorted(document["choices"], key=lambda choice: choice["index"])
        return [
            Answer(
                text=choice["text"],
                finish_reason=choice.get("finish_reason"),
                usage=_parse_usage(document.get("usage")) if position == 0 else None,
                tokens=_parse_completion_logprobs(choice.get("logprobs")),
                prompt_tokens=_parse_prompt_logprobs(choice.get("prompt_logprobs"), choice.get("prompt_token_ids")),
                token_ids=tuple(choice.get("token_ids") or ()),
                prompt_token_ids=tuple(choice.get("prompt_token_ids") or ()),
                request_id=str(document.get("id", "")),
            )
            for position, choice in enumerate(choices)
        ]
    except (KeyError, TypeError, AttributeError) as err:
        raise ValueError("not a completion") from err


def parse_chats(document: Any) -> list[Answer]:
    """Read the answers out of a `/v1/chat/completions` (or `…/batch`) document, in the order of their index.

    Raises:
        ValueError: The document has another shape.
    """
    try:
        choices = sorted(document["choices"], key=lambda choice: choice["index"])
        return [
            Answer(
                text=choice["message"].get("content") or "",
                finish_reason=choice.get("finish_reason"),
                usage=_parse_usage(document.get("usage")) if position == 0 else None,
                tokens=_parse_chat_logprobs(choice.get("logprobs")),
                token_ids=tuple(choice.get("token_ids") or ()),
                prompt_token_ids=tuple(document.get("prompt_token_ids") or ()),
                reasoning=_parse_reasoning(choice["message"]),
                tool_calls=_parse_tool_calls(choice["message"]),
                request_id=str(document.get("id", "")),
            )
            for position, choice in enumerate(choices)
        ]
    except (KeyError, TypeError, AttributeError) as err:
        raise ValueError("not a chat completion") from err


def parse_stream_chunk(document: Any, at_seconds: float) -> StreamChunk:
    """Read one streamed event of either route.

    Raises:
        ValueError: The document has another shape, or is an error sent in the midst of a stream.
    """
    try:
        if "error" in document:
            raise ValueError(f"the stream broke off: {parse_error_message(json.dumps(document))}")
        usage = _parse_usage(document.get("usage"))
        request_id = str(document.get("id", ""))
        if not document["choices"]:
            return StreamChunk(at_seconds, usage=usage, request_id=request_id)
        choice = document["choices"][0]
        is_chat = "delta" in choice
        delta = choice["delta"] if is_chat else choice
        logprobs = choice.get("logprobs")
        return StreamChunk(
            at_seconds,
            text=(delta.get("content") if is_chat else delta.get("text")) or "",
            reasoning=_parse_reasoning(delta) if is_chat else "",
            tokens=_parse_chat_logprobs(logprobs) if is_chat else _parse_completion_logprobs(logprobs),
            token_ids=tuple(choice.get("token_ids") or ()),
            prompt_token_ids=tuple(document.get("prompt_token_ids") or choice.get("prompt_token_ids") or ()),
            finish_reason=choice.get("finish_reason"),
            usage=usage,
            request_id=request_id,
        )
    except (KeyError, TypeError, AttributeError, IndexError) as err:
        raise ValueError("not a chunk of a stream") from err


def parse_error_message(body: str) -> str:
    """Give the message inside an error answer, or the start of the body where there is none."""
    try:
        document = json.loads(body)
    except ValueError:
        return body.strip()[:300]
    error = document.get("error") if isinstance(document, dict) else None
    if isinstance(error, dict):
        return str(error.get("message", ""))
    if isinstance(error, str):
        return error
    detail = document.get("detail") if isinstance(document, dict) else None
    return str(detail) if detail else body.strip()[:300]


def _parse_usage(usage: Any) -> Usage | None:
    if not usage:
        return None
    return Usage(int(usage["prompt_tokens"]), int(usage.get("completion_tokens") or 0))


def _parse_reasoning(message: Mapping[str, Any]) -> str:
    # vLLM renamed the field; older commits say `reasoning_content`.
    return message.get("reasoning") or message.get("reasoning_content") or ""


def _parse_tool_calls(message: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    functions = [call.get("function") or {} for call in message.get("tool_calls") or ()]
    return tuple((str(function.get("name") or ""), str(function.get("arguments") or "")) for function in functions)


def _token_key(token: str) -> str:
    return token.removeprefix(TOKEN_ID_MARK)


def _parse_completion_logprobs(logprobs: Any) -> tuple[ScoredToken, ...]:
    if not logprobs:
        return ()
    tops = logprobs.get("top_logprobs") or [None] * len(logprobs["tokens"])
    return tuple(
        ScoredToken(
            _token_key(token),
            LOWEST_LOGPROB if logprob is None else float(logprob),
            {_token_key(key): float(value) for key, value in (top or {}).items()},
        )
        for token, logprob, top in zip(logprobs["tokens"], logprobs["token_logprobs"], tops, strict=True)
    )


def _parse_chat_logprobs(logprobs: Any) -> tuple[ScoredToken, ...]:
    if not logprobs or not logprobs.get("content"):
        return ()
    return tuple(
        ScoredToken(
            _token_key(entry["token"]),
            float(entry["logprob"]),
            {_token_key(top["token"]): float(top["logprob"]) for top in entry.get("top_logprobs") or ()},
        )
        for entry in logprobs["content"]
    )


def _parse_prompt_logprobs(positions: Any, token_ids: Any) -> tuple[ScoredToken | None, ...]:
    if not positions:
        return ()
    scored: list[ScoredToken | None] = []
    for index, position in enumerate(positions):
        if not position:
            scored.append(None)
            continue
        # Without the ids, the prompt's own token is the first of the mapping: vLLM builds it that way
        # (vllm/logprobs.py, append_logprobs_for_next_position) and JSON keeps the order.
        own = str(token_ids[index]) if token_ids else next(iter(position))
        top = {key: float(value["logprob"]) for key, value in position.items()}
        scored.append(ScoredToken(own, top[own], top))
    return tuple(scored)


def parse_token_ids(document: Any) -> list[int]:
    """Read the token ids out of a `/tokenize` answer."""
    return [int(token) for token in document["tokens"]]


def parse_embeddings(document: Any) -> list[list[float]]:
    """Read the vectors out of a `/v1/embeddings` answer, in the order of the texts."""
    rows = sorted(document["data"], key=lambda row: row["index"])
    return [[float(value) for value in row["embedding"]] for row in rows]
