"""A streamed answer is the unstreamed one in pieces: in order, with usage and `[DONE]`."""

from __future__ import annotations

from typing import Any

from stack.checks.near_tie import Parting, compare_greedy
from stack.checks.smoke.asking import ask_once, ask_streaming
from stack.checks.smoke.check import Check, Outcome, SmokeContext


def run(context: SmokeContext) -> Outcome:
    """Ask unstreamed and streamed, and compare."""
    whole = ask_once(context)
    streamed = read_stream(list(ask_streaming(context)))
    parting = compare_greedy(whole.tokens, streamed["tokens"])
    wrong = [*find_stream_faults(streamed), *_compare_texts(whole, streamed, parting)]
    data = {
        "ttft_seconds": streamed["ttft_seconds"],
        "chunks": streamed["chunks"],
        "parted_at": parting.index,
    }
    if wrong:
        return Outcome("fail", "; ".join(wrong), "`curl -N` against the API shows the stream as it comes", data)
    return Outcome(
        "pass",
        f"{parting.describe()} in {streamed['chunks']} chunks, first token after "
        f"{streamed['ttft_seconds']:.3f} s, usage and `[DONE]` there",
        data=data,
    )


def read_stream(chunks: list[Any]) -> dict[str, Any]:
    """Put together what matters of a stream's chunks."""
    held = [chunk for chunk in chunks if chunk.text or chunk.reasoning or chunk.tokens]
    usages = [chunk.usage for chunk in chunks if chunk.usage is not None]
    return {
        "text": "".join(chunk.text for chunk in chunks),
        "tokens": tuple(token for chunk in chunks for token in chunk.tokens),
        "token_ids": tuple(token for chunk in chunks for token in chunk.token_ids),
        "prompt_token_ids": next((chunk.prompt_token_ids for chunk in chunks if chunk.prompt_token_ids), ()),
        "chunks": len(held),
        "ttft_seconds": held[0].at_seconds if held else None,
        "usage": usages[-1] if usages else None,
        "finish_reason": next((chunk.finish_reason for chunk in chunks if chunk.finish_reason), None),
        "is_done": bool(chunks) and chunks[-1].is_done,
    }


def find_stream_faults(streamed: dict[str, Any]) -> list[str]:
    """Find what is wrong with one stream, whatever it says."""
    wrong = []
    count = len(streamed["tokens"])
    if not streamed["chunks"]:
        return ["the stream held no token"]
    if count > 1 and streamed["chunks"] == 1:
        wrong.append(f"{count} tokens came in one chunk")
    if not streamed["is_done"]:
        wrong.append("the stream did not end with `[DONE]`")
    if streamed["finish_reason"] is None:
        wrong.append("no finish reason came")
    if streamed["usage"] is None:
        wrong.append("no usage came, though it was asked for")
    elif streamed["usage"].completion_tokens != count:
        told = streamed["usage"].completion_tokens
        wrong.append(f"usage says {told} tokens, {count} were streamed")
    return wrong


def _compare_texts(whole: Any, streamed: dict[str, Any], parting: Parting) -> list[str]:
    wrong = []
    if not parting.is_fine:
        wrong.append(f"not the unstreamed answer: {parting.describe()}")
    elif parting.index is None and streamed["text"] != whole.text:
        wrong.append("the same tokens gave another text than unstreamed")
    if whole.usage is None:
        wrong.append("the unstreamed answer has no usage")
    elif whole.usage.completion_tokens != len(whole.tokens):
        wrong.append(f"usage says {whole.usage.completion_tokens} tokens, {len(whole.tokens)} came unstreamed")
    return wrong


CHECK = Check("streaming", run, order=100, model="generation", needs=("model-list",))
