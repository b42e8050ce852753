"""A client that hangs up frees its place: the engine stops working for it."""

from __future__ import annotations

import statistics
from contextlib import closing

from stack.checks.smoke.check import Check, Outcome, SmokeContext
from stack.checks.smoke.counters import RUNNING, Counters, parse_counters
from stack.checks.smoke.defaults import COMPLETION_PROMPT

# More than any engine makes before the hang-up is noticed, and little enough to end soon if it is not.
_ASKED_TOKENS = 1500
# An idle worker of vLLM's multi-process executor, which every CPU engine has, may miss that there is work and
# looks again only after 5 s (SHM_READER_RECHECK_INTERVAL_MS in distributed/device_communicators/shm_broadcast.py,
# 0.31.0): two such stalls are no reason to call a hang-up unnoticed.
_PATIENCE_SECONDS = 15.0
_POLL_SECONDS = 0.1
_LOOKS_BEFORE = 5
# On a busy machine this program may be kept from hanging up until the answer has come to its end by itself.
_ATTEMPTS = 3
_IDLE_LOOKS = 3


def run(context: SmokeContext) -> Outcome:
    """Hang up after the first tokens of a long answer and watch the engine's books.

    Others may use the engine meanwhile, so nothing absolute is read: either the counter of aborted requests
    rises, or one request more than before has begun and neither ended nor runs. The last holds for two looks
    in a row, as one look may fall between two counters' updates. An answer that came to its end proves nothing
    the first time: it may have been over before the hang-up.
    """
    for _ in range(_ATTEMPTS):
        outcome = _hang_up(context)
        if outcome.status == "pass" or not outcome.data.get("is_idle"):
            break
    return outcome


def _hang_up(context: SmokeContext) -> Outcome:
    before = [_look(context) for _ in range(_LOOKS_BEFORE)]
    length = context.measured.get("max_model_len") or 2048
    asked = min(_ASKED_TOKENS, length - 64)
    chunks = context.engine.stream_completion(COMPLETION_PROMPT, max_tokens=asked, ignore_eos=True)
    seen = 0
    with closing(chunks) as stream:  # type: ignore[type-var]
        for chunk in stream:
            seen += bool(chunk.text)
            if seen >= 2:
                break
    if not seen:
        return Outcome("fail", "the stream ended before its first token")
    return _watch(context, before, context.clock())


def _watch(context: SmokeContext, before: list[Counters], hung_up_at: float) -> Outcome:
    aborted = max(counters.aborted for counters in before)
    # The middle one: a look may fall into somebody's prefill, which lowers the figure for the moment.
    vanished = statistics.median_high(counters.count_vanished() for counters in before)
    in_a_row = idle = 0
    while idle < _IDLE_LOOKS and context.clock() - hung_up_at < _PATIENCE_SECONDS:
        # The gauges move with the next engine step only: a request of one token makes one.
        context.engine.run_completion(COMPLETION_PROMPT, max_tokens=1)
        now = _look(context)
        waited = context.clock() - hung_up_at
        data = {"seconds": round(waited, 3), "running": now.get(RUNNING)}
        if now.aborted > aborted:
            return Outcome("pass", f"counted as aborted {waited:.1f} s after the hang-up", data=data)
        in_a_row = in_a_row + 1 if now.count_vanished() >= vanished + 1 else 0
        if in_a_row >= 2:
            return Outcome("pass", f"no longer running {waited:.1f} s after the hang-up", data=data)
        idle = idle + 1 if not now.get(RUNNING) else 0
        context.sleep(_POLL_SECONDS)
    is_idle = idle >= _IDLE_LOOKS
    said = "the answer was made to its end, though its client had hung up"
    return Outcome(
        "fail",
        said if is_idle else f"{_PATIENCE_SECONDS:.0f} s after the client hung up its request was not aborted",
        "requests of clients that are gone keep the engine busy: see `stack logs engine`",
        data={"is_idle": is_idle},
    )


def _look(context: SmokeContext) -> Counters:
    return parse_counters(context.engine.fetch_metrics())


CHECK = Check("hang-up", run, order=140, model="generation", needs=("model-list",))
