"""Rules on room: requests that stand still, wait, are thrown out or turned away."""

from __future__ import annotations

from stack.telemetry.diagnosis.limit import Confidence, Limit
from stack.telemetry.diagnosis.window import Window

# From here the KV cache is full: what is left serves no further request for long.
_KV_IS_FULL = 0.9
# Where the length of prompts is not known: so much is too full for one of a few long ones.
_KV_IS_NEARLY_FULL = 0.8
# Preemptions per request that ended, below which they cost next to nothing.
_FEW_PREEMPTIONS = 0.01
# Of the time to the first token: from here on, waiting is worth naming though nobody waits at one of the looks.
_LONG_WAIT_SHARE = 0.5
_SOME_REQUESTS = 3
# Of the time that requests are computed: with less of it in prefill, prompts are not what fills the steps.
_PROMPTS_FILL_STEPS = 0.5
# An engine's processes that do nothing at all, not even wait for a GPU in a loop.
_RESTING_CORES = 0.1

_MORE_KV = (
    'more room: `gpu-memory-utilization` or `kv-cache-memory-bytes` up, or `kv-cache-dtype = "fp8"`',
    "fewer at once: `max-num-seqs` down, so that requests wait instead",
    "smaller requests: `max-model-len` down, shorter answers (`max_tokens`)",
)


def check_stuck(window: Window) -> Limit | None:
    """Requests are there and nothing at all moves: no token, no end, no change of the KV cache."""
    held = window.running.least > 0 or window.waiting.least > 0
    if not held or window.has_moved or window.kv_usage.before != window.kv_usage.after or window.deferred.least > 0:
        return None
    evidence: tuple[str, ...] = (
        f"{window.running} requests running, {window.waiting} waiting",
        f"no token made or read and none ended in {window.seconds:.0f} s",
        f"KV cache stands at {window.kv_usage.after:.1%}",
    )
    change = (
        "`stack logs engine` tells what it does; a kernel that compiles, or a very long step, ends by itself",
        "`stack diagnose --seconds 60` looks longer; if nothing moves then, `stack down` and `stack up`",
    )
    cores = window.around.engine_cores
    confidence: Confidence = "medium"
    if cores is not None:
        evidence = (*evidence, f"its container kept {cores:.2f} cores busy")
        # A GPU that hangs is waited for in a loop; a CPU that computes is in a long step.
        confidence = "high" if cores < _RESTING_CORES else "low" if window.around.device == "cpu" else "medium"
    return Limit("stuck", "the engine has requests and makes no tokens", confidence, evidence, change)


def check_preemption(window: Window) -> Limit | None:
    """Requests are thrown out of the full KV cache and computed anew."""
    if window.preemptions <= 0:
        return None
    evidence = (
        f"{window.preemptions:.0f} preemptions in {window.seconds:.0f} s; {window.finished:.0f} requests ended",
        f"KV cache {_percents(window)} full, {window.running} requests running, {window.waiting} waiting",
    )
    is_full = window.kv_usage.most >= _KV_IS_FULL
    confidence: Confidence = "high" if is_full else "medium"
    if window.finished > 0 and window.preemptions < _FEW_PREEMPTIONS * window.finished:
        confidence = "low"
    return Limit("preemption", "the KV cache is too small for what runs at once", confidence, evidence, _MORE_KV)


def check_kv_cache(window: Window) -> Limit | None:
    """Requests wait because the KV cache has no room for them; none is thrown out."""
    if not window.has_moved or window.waiting.least == 0 or window.preemptions > 0:
        return None
    if not is_kv_short(window) or are_slots_taken(window):
        return None
    evidence = [f"{window.waiting} requests waiting", f"KV cache {_percents(window)} full, no preemption"]
    if window.free_kv_tokens is not None and window.mean_prompt_tokens:
        evidence.append(
            f"room for {window.free_kv_tokens:.0f} of {window.kv_tokens} tokens; "
            f"a prompt has {window.mean_prompt_tokens:.0f} on average"
        )
    confidence: Confidence = "high" if window.kv_usage.least >= _KV_IS_FULL else "medium"
    return Limit("kv-cache", "requests wait for room in the KV cache", confidence, tuple(evidence), _MORE_KV)


def is_kv_short(window: Window) -> bool:
    """Tell whether the KV cache was full at both looks, or had too little room for one more prompt."""
    free, wanted = window.free_kv_tokens, window.mean_prompt_tokens
    if free is None or wanted == 0:
        return window.kv_usage.least >= _KV_IS_NEARLY_FULL
    return free < wanted or window.kv_usage.least >= _KV_IS_FULL


def are_slots_taken(window: Window) -> bool:
    """Tell whether the batch had as many requests at both looks as it may have, where that is known."""
    most = window.around.max_num_seqs
    return most is not None and window.running.least >= most


def is_queueing(window: Window) -> bool:
    """Tell whether requests waited: at both looks, or at one while those that ended had waited for long."""
    if window.waiting.least > 0:
        return True
    has_waited = window.finished >= _SOME_REQUESTS and window.queue_share >= _LONG_WAIT_SHARE
    return window.waiting.most > 0 and has_waited


def check_queue(window: Window) -> Limit | None:
    """Requests wait for a place in the batch though the KV cache has room."""
    if window.deferred.least > 0:
        return _check_deferred(window)
    if not window.has_moved or window.preemptions > 0 or not is_queueing(window):
        return None
    if is_kv_short(window) and not are_slots_taken(window):
        return None
    evidence = (
        f"{window.waiting} requests waiting, {window.running} running",
        _describe_wait(window),
        f"KV cache {_percents(window)} full, no preemption",
    )
    most = window.around.max_num_seqs
    if most is not None and window.running.most < most:
        return _check_budget(window, evidence)
    is_steady = window.waiting.least > 0 and window.running.before == window.running.after
    confidence: Confidence = "medium" if is_steady else "low"
    slots = "every place in the batch is taken"
    if are_slots_taken(window):
        confidence = "high" if window.waiting.least > 0 else "medium"
        slots += f" (`max-num-seqs` is {most})"
    elif most is None:
        slots += "; `max-num-seqs` is not known, but the batch does not grow" if is_steady else ", it seems"
    change = (
        "raise `max-num-seqs`, as long as the KV cache has room and tokens do not come too slowly",
        "more engines behind one address, or fewer requests at once",
    )
    return Limit("queue", "requests wait for a place in the batch", confidence, (*evidence, slots), change)


def _check_budget(window: Window, evidence: tuple[str, ...]) -> Limit:
    places = f"{window.running.most:.0f} of {window.around.max_num_seqs} places taken at most"
    share = window.prefill_share
    change = (
        "raise `max-num-batched-tokens`: more prompts in one step",
        "shorter prompts, or what they have in common first, so that the prefix cache finds it",
    )
    if share is not None and share >= _PROMPTS_FILL_STEPS:
        prompts = f"{share:.0%} of the time that requests were computed was before their first token"
        said = "requests wait for room in a step, which prompts fill"
        return Limit("queue", said, "medium", (*evidence, places, prompts), change)
    # The gauges are those of two moments: between them the KV cache may have been full.
    change = ("look again and longer (`--seconds 60`): the KV cache may be full in between", *change)
    return Limit("queue", "requests wait, with places free at both looks", "low", (*evidence, places), change)


def _check_deferred(window: Window) -> Limit:
    evidence = (
        f"{window.deferred} requests deferred by the scheduler, {window.running} running",
        _describe_wait(window),
    )
    change = ("with LoRA: raise `max-loras`; with a KV connector: look at the other side of the transfer",)
    return Limit("queue", "requests wait for an adapter or a KV transfer", "medium", evidence, change)


def _describe_wait(window: Window) -> str:
    if window.finished < _SOME_REQUESTS:
        return f"{window.finished:.0f} requests ended in {window.seconds:.0f} s, too few to tell how long they wait"
    return (
        f"the {window.finished:.0f} requests that ended had waited {window.mean_queue_seconds:.2f} s on average, "
        f"{window.queue_share:.0%} of the time to their first token"
    )


def check_admission(window: Window) -> Limit | None:
    """A queue limit turns requests away."""
    if not window.rejections:
        return None
    counts = ", ".join(f"{count:.0f} by `{reason.replace('_', '-')}`" for reason, count in window.rejections.items())
    evidence = (
        f"{counts} in {window.seconds:.0f} s; {window.finished:.0f} requests ended",
        f"{window.waiting} waiting",
    )
    flags = " and ".join(f"`{reason.replace('_', '-')}`" for reason in window.rejections)
    change = (f"raise {flags} if clients may wait longer; else send less, or mend what the queue waits for",)
    return Limit("admission", "a queue limit turns requests away", "high", evidence, change)


def _percents(window: Window) -> str:
    return f"{window.kv_usage.before:.0%} and {window.kv_usage.after:.0%}"
