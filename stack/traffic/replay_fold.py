"""Put the chunks of a stream together as the document that the same request gives unstreamed. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from stack.traffic.engine_wire import parse_error_message

_HEAD = ("id", "object", "created", "model", "prompt_token_ids", "system_fingerprint")
_TEXTS = ("content", "reasoning", "reasoning_content", "refusal")


class StreamFold:
    """Takes chunk after chunk of `/v1/chat/completions` or `/v1/completions`.

    Attributes:
        error: The message of an error that was sent in the midst of the stream, or empty.
    """

    def __init__(self) -> None:
        self.error = ""
        self._head: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}
        self._usage: Any = None

    def take(self, chunk: Any) -> bool:
        """Take a chunk and tell whether it brought tokens.

        Raises:
            ValueError: It has another shape.
        """
        if not isinstance(chunk, Mapping):
            raise ValueError("not a chunk of a stream")
        if "error" in chunk:
            self.error = _describe_error(chunk["error"])
            return False
        try:
            for key in _HEAD:
                if chunk.get(key) is not None:
                    self._head.setdefault(key, chunk[key])
            self._usage = chunk.get("usage") or self._usage
            brought = False
            for choice in chunk["choices"]:
                brought |= self._take_choice(choice)
            return brought
        except (KeyError, TypeError, AttributeError) as err:
            raise ValueError("not a chunk of a stream") from err

    def build_document(self) -> dict[str, Any]:
        """Give the document; its kind is that of the unstreamed answer."""
        kind = str(self._head.get("object", "")).removesuffix(".chunk")
        head = {**self._head, "object": kind} if kind else dict(self._head)
        choices = [self._choices[index] for index in sorted(self._choices)]
        return {**head, "choices": choices, "usage": self._usage}

    def _take_choice(self, choice: Mapping[str, Any]) -> bool:
        index = int(choice.get("index", 0))
        held = self._choices.setdefault(index, {"index": index, "finish_reason": None})
        brought = _take_delta(held, choice["delta"]) if "delta" in choice else _take_text(held, choice)
        if choice.get("logprobs"):
            brought |= _extend(held.setdefault("logprobs", {}), choice["logprobs"])
        if choice.get("token_ids"):
            brought = True
            held["token_ids"] = [*held.get("token_ids", ()), *choice["token_ids"]]
        for key in ("finish_reason", "stop_reason", "prompt_token_ids"):
            if choice.get(key) is not None:
                held[key] = choice[key]
        return brought


def _take_delta(held: dict[str, Any], delta: Mapping[str, Any]) -> bool:
    message = held.setdefault("message", {"role": "assistant", "content": None})
    brought = False
    for key in _TEXTS:
        if delta.get(key):
            message[key] = (message.get(key) or "") + delta[key]
            brought = True
    for call in delta.get("tool_calls") or ():
        calls = message.setdefault("tool_calls", [])
        position = int(call.get("index", len(calls)))
        while len(calls) <= position:
            calls.append({"type": "function", "function": {"name": "", "arguments": ""}})
        function = call.get("function") or {}
        if call.get("id"):
            calls[position]["id"] = call["id"]
        for key in ("name", "arguments"):
            calls[position]["function"][key] += function.get(key) or ""
        brought = True
    return brought


def _take_text(held: dict[str, Any], choice: Mapping[str, Any]) -> bool:
    held["text"] = held.get("text", "") + (choice["text"] or "")
    return bool(choice["text"])


def _extend(held: dict[str, Any], logprobs: Mapping[str, Any]) -> bool:
    brought = False
    for key, values in logprobs.items():
        if isinstance(values, list):
            # In place: a copy for every token would make long answers slow.
            held.setdefault(key, []).extend(values)
            brought |= bool(values)
    return brought


def _describe_error(error: Any) -> str:
    return parse_error_message(json.dumps({"error": error})) or "an error without a message"
