"""The one small generation that several checks ask for: by chat where the model can, else by completion."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stack.checks.smoke.check import SmokeContext
from stack.checks.smoke.defaults import CHAT_QUESTION, COMPLETION_PROMPT

ANSWER_TOKENS = 12
# Alternatives told at each token, to see whether two runs parted at a near tie.
TOP_TOKENS = 5


def ask_once(context: SmokeContext) -> Any:
    """Ask the usual question, greedily, with scores."""
    if context.target.model.has_chat_template:
        messages = [{"role": "user", "content": CHAT_QUESTION}]
        return context.engine.run_chat(messages, max_tokens=ANSWER_TOKENS, top_logprobs=TOP_TOKENS)
    return context.engine.run_completion(COMPLETION_PROMPT, max_tokens=ANSWER_TOKENS, logprobs=TOP_TOKENS)


def ask_streaming(context: SmokeContext) -> Iterator[Any]:
    """Ask the same, streamed."""
    if context.target.model.has_chat_template:
        messages = [{"role": "user", "content": CHAT_QUESTION}]
        return context.engine.stream_chat(messages, max_tokens=ANSWER_TOKENS, top_logprobs=TOP_TOKENS)
    return context.engine.stream_completion(COMPLETION_PROMPT, max_tokens=ANSWER_TOKENS, logprobs=TOP_TOKENS)
