"""`/metrics` parses, and its counters move by what is sent."""

from __future__ import annotations

from stack.checks.smoke.check import Check, Outcome, SmokeContext
from stack.checks.smoke.counters import FINISHED, GENERATION_TOKENS, PROMPT_TOKENS, Counters, parse_counters
from stack.checks.smoke.defaults import COMPLETION_PROMPT

_REQUESTS = 2
_TOKENS = 3
_PATIENCE_SECONDS = 3.0
_POLL_SECONDS = 0.1


def run(context: SmokeContext) -> Outcome:
    """Send a known amount and wait until the counters have moved by no less (others may move them too)."""
    before = parse_counters(context.engine.fetch_metrics())
    floor = _send(context)
    began = context.clock()
    while True:
        after = parse_counters(context.engine.fetch_metrics())
        short = _find_short(before, after, floor)
        if not short:
            break
        if context.clock() - began > _PATIENCE_SECONDS:
            return Outcome("fail", "; ".join(short), "see `disable-log-stats` in [engine.args]")
        context.sleep(_POLL_SECONDS)
    moved = {name: after.get(name) - before.get(name) for name in floor}
    said = ", ".join(f"{name.removeprefix('vllm:').removesuffix('_total')} +{moved[name]:.0f}" for name in floor)
    return Outcome("pass", f"{len(after.values)} series parsed; {said}", data={"sent": floor, "moved": moved})


def _send(context: SmokeContext) -> dict[str, float]:
    if context.target.model.is_pooling:
        context.engine.fetch_embeddings([COMPLETION_PROMPT] * _REQUESTS)
        return {FINISHED: _REQUESTS}
    floor = {PROMPT_TOKENS: 0.0, GENERATION_TOKENS: 0.0, FINISHED: 0.0}
    for _ in range(_REQUESTS):
        answer = context.engine.run_completion(COMPLETION_PROMPT, max_tokens=_TOKENS, ignore_eos=True)
        floor[PROMPT_TOKENS] += answer.usage.prompt_tokens
        floor[GENERATION_TOKENS] += answer.usage.completion_tokens
        floor[FINISHED] += 1
    return floor


def _find_short(before: Counters, after: Counters, floor: dict[str, float]) -> list[str]:
    short = []
    for name, sent in floor.items():
        moved = after.get(name) - before.get(name)
        if moved < 0:
            short.append(f"`{name}` went back by {-moved:.0f}: the engine was restarted")
        elif moved < sent:
            short.append(f"`{name}` moved by {moved:.0f}, {sent:.0f} were sent")
    return short


CHECK = Check("metrics", run, order=160, model="any", needs=("model-list",))
