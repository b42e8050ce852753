"""Rules on what the engine spends its time with: prefill, decode, waiting for clients, or nothing."""

from __future__ import annotations

from stack.telemetry.diagnosis.limit import Limit
from stack.telemetry.diagnosis.window import Window

# Below this many requests at once, on average, the engine had certainly nothing to do for the rest of the time.
_HAS_FREE_TIME = 0.7
# Up to here it is one client that asks again as soon as it has its answer: the batch is hardly more than one request.
_ONE_AT_A_TIME = 1.5
# Requests that must have ended before their number is worth a strong word.
_SOME_REQUESTS = 3
_CLEAR_SHARE = 0.7
# vLLM tells of requests and tokens when a step ends: a page that stands still for less than this may be one long step
# of an engine whose gauges are still those of before it (seen on a CPU: 4 s with 2 prompts of 900 tokens, all at 0).
_LONG_STEP_SECONDS = 10
# An engine that waits uses a few hundredths of a core; one that computes, on a CPU or before a GPU, most of one.
COMPUTING_CORES = 0.5
# Above this many prompt tokens computed per token made, prefill also holds up the decoding of others.
_MANY_PROMPT_TOKENS = 4


def is_busy(window: Window) -> bool:
    """Tell whether the engine had work for most of the time."""
    return window.present >= _HAS_FREE_TIME


def check_prefill(window: Window) -> Limit | None:
    """Reading prompts takes most of the time, or a long prompt is being read all the time."""
    share = window.prefill_share
    if not window.has_moved:
        return _check_long_prompt(window)
    if share is None or share < 0.5 or not is_busy(window):
        return None
    evidence = (
        f"{share:.0%} of the time that requests were computed was before their first token",
        f"{window.computed / window.seconds:.0f} prompt tokens/s computed, "
        f"{window.generated / window.seconds:.0f} tokens/s made",
        *_describe_cache(window),
    )
    is_clear = share >= _CLEAR_SHARE and window.finished >= _SOME_REQUESTS
    return Limit("prefill", "reading prompts", "high" if is_clear else "medium", evidence, _change_prefill(window))


def _check_long_prompt(window: Window) -> Limit | None:
    # A prompt that is read in pieces gives no figure before its first token, but takes KV cache as it goes.
    if window.running.least == 0 or window.kv_usage.after <= window.kv_usage.before:
        return None
    evidence = (
        f"{window.running} requests running and no token in {window.seconds:.0f} s",
        f"KV cache grew from {window.kv_usage.before:.1%} to {window.kv_usage.after:.1%}",
    )
    return Limit("prefill", "reading long prompts", "medium", evidence, _change_prefill(window))


def _describe_cache(window: Window) -> tuple[str, ...]:
    if window.prompted <= 0:
        return ()
    return (f"{1 - window.computed / window.prompted:.0%} of the prompt tokens came from a cache",)


def _change_prefill(window: Window) -> tuple[str, ...]:
    return (
        "put what prompts have in common first, so that the prefix cache finds it",
        "raise `max-num-batched-tokens`: more of a prompt in one step; answers under way then wait longer for a token",
        "shorter prompts; a GPU with more computing power, or `tensor-parallel-size`",
    )


def check_decode(window: Window) -> Limit | None:
    """Making tokens one after the other takes most of the time."""
    share = window.prefill_share
    if share is None or share >= 0.5 or not is_busy(window):
        return None
    itl = window.decoding * window.seconds / window.generated if window.generated > 0 else 0.0
    evidence = (
        f"{1 - share:.0%} of the time that requests were computed was after their first token",
        f"{window.decoding:.1f} answers under way at once on average, {window.generated / window.seconds:.0f} tokens/s,"
        f" {itl * 1e3:.0f} ms from token to token",
        f"{window.computed / window.seconds:.0f} prompt tokens/s computed",
    )
    is_mixed = window.computed > _MANY_PROMPT_TOKENS * window.generated
    is_clear = 1 - share >= _CLEAR_SHARE and not is_mixed
    change = (
        "for more tokens/s: more requests at once, as long as none waits",
        "for faster answers: `speculative-config`, or quantised weights (`quantization`); fewer tokens (`max_tokens`)",
        "a GPU with more memory bandwidth, or `tensor-parallel-size`",
    )
    if is_mixed:
        lower = "lower `max-num-batched-tokens`: long prompts then hold up the answers under way for less long"
        change = (lower, *change)
    return Limit("decode", "making tokens", "high" if is_clear else "medium", evidence, change)


def check_client(window: Window) -> Limit | None:
    """The engine waits for requests, or gets the next only when it has answered the last."""
    if not window.has_moved or window.present >= _ONE_AT_A_TIME or window.present == 0:
        return None
    if window.waiting.most > 0:
        return None
    has_free_time = not is_busy(window)
    evidence = (
        f"{window.present:.2f} requests in the engine at once on average"
        + (f": nothing to do for at least {1 - window.present:.0%} of the time" if has_free_time else ""),
        f"{window.finished:.0f} requests ended in {window.seconds:.0f} s",
        f"{window.mean_queue_seconds:.3f} s in the queue on average",
    )
    change = ("nothing in the engine: send more requests at once, and the next before the last is answered",)
    is_clear = has_free_time and window.finished >= _SOME_REQUESTS
    said = "the engine waits for its clients" if has_free_time else "one request at a time"
    return Limit("client", said, "high" if is_clear else "medium", evidence, change)


def check_idle(window: Window) -> Limit | None:
    """Nobody asks for anything."""
    if window.has_moved or window.running.most + window.waiting.most + window.deferred.most > 0 or window.rejections:
        return None
    cores = window.around.engine_cores
    if cores is not None and cores >= COMPUTING_CORES:
        return None
    evidence = [f"no request and no token in {window.seconds:.0f} s", "none running or waiting at either look"]
    if cores is not None:
        evidence.append(f"its container kept {cores:.2f} cores busy")
    change = ["nothing: there is no load"]
    if window.http_errors:
        evidence.append(f"{window.http_errors:.0f} HTTP answers with a status of 400 or more")
        change = ["the server refuses what clients send (key, model name, path): `stack logs engine`"]
    is_clear = cores is not None or window.seconds >= _LONG_STEP_SECONDS
    return Limit("idle", "no work", "high" if is_clear else "medium", tuple(evidence), tuple(change))
