"""Many different requests at once: each answer belongs to its own prompt, and they share engine steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from stack.checks.smoke.check import Outcome, SmokeContext, run_side_by_side
from stack.checks.smoke.counters import GENERATION_TOKENS, STEPS, Counters, parse_counters
from stack.checks.smoke.defaults import BATCH_PROMPTS
from stack.checks.smoke.scoring import AGREEMENT_NATS, rescore_answers

BATCH_TOKENS = 12
# Eight requests of twelve tokens share steps of 7 tokens on a CPU; one after another makes 1.0.
TOKENS_A_STEP = 1.5
_LONGER = 5


def build_prompts(count: int) -> list[str]:
    """Build that many different prompts."""
    rounds = range(count // len(BATCH_PROMPTS) + 1)
    prompts = [f"{turn}. {prompt}" if turn else prompt for turn in rounds for prompt in BATCH_PROMPTS]
    return prompts[:count]


def run_batched(context: SmokeContext, ask: Callable[[str, int], Any]) -> tuple[list[Any], float | None]:
    """Ask all prompts at the same moment; give the answers and how many tokens a step made meanwhile.

    `ask` takes a prompt and how many tokens to make of it. A fast engine may be through with one request
    before a busy machine has sent the next: where no step was shared, longer answers are asked for once.
    """
    prompts = build_prompts(max(2, context.target.config.concurrency))
    answers, tokens_a_step = _run_once(context, ask, prompts, BATCH_TOKENS)
    is_shared = tokens_a_step is None or tokens_a_step >= TOKENS_A_STEP
    if is_shared or context.target.max_num_seqs == 1:
        return answers, tokens_a_step
    return _run_once(context, ask, prompts, BATCH_TOKENS * _LONGER)


def _run_once(
    context: SmokeContext, ask: Callable[[str, int], Any], prompts: Sequence[str], tokens: int
) -> tuple[list[Any], float | None]:
    before = parse_counters(context.engine.fetch_metrics())
    answers = run_side_by_side(lambda prompt: ask(prompt, tokens), prompts)
    return answers, compute_tokens_a_step(before, parse_counters(context.engine.fetch_metrics()))


def compute_tokens_a_step(before: Counters, after: Counters) -> float | None:
    """Compute the mean number of generated tokens an engine step, or None where the engine does not tell."""
    if STEPS not in after.values or GENERATION_TOKENS not in after.values:
        return None
    steps = after.get(STEPS) - before.values.get(STEPS, 0.0)
    tokens = after.get(GENERATION_TOKENS) - before.values.get(GENERATION_TOKENS, 0.0)
    return tokens / steps if steps > 0 else None


def judge_answers(context: SmokeContext, answers: Sequence[Any], tokens_a_step: float | None, *, what: str) -> Outcome:
    """Read every answer again after its own prompt: another prompt's tokens score far from what was told."""
    found = rescore_answers(context.engine, answers)
    apart = [rescored.agreement.mean_difference for rescored in found]
    strange = [number for number, rescored in enumerate(found, 1) if not rescored.is_fine]
    data = {"requests": len(answers), "mean_nats": [round(value, 4) for value in apart]}
    data |= {"tokens_a_step": None if tokens_a_step is None else round(tokens_a_step, 2)}
    if strange:
        return Outcome(
            "fail",
            f"{len(strange)} of {len(answers)} answers are not what their own prompt leads to "
            f"(up to {max(apart):.2f} nats apart, {AGREEMENT_NATS:.2f} at most)",
            "requests that run together disturb one another: the engine is broken",
            data,
        )
    if context.target.max_num_seqs == 1:
        return Outcome("pass", f"{what}, each right; the engine is told to run one at a time", data=data)
    if tokens_a_step is None:
        return Outcome("warn", f"{what}, each right; the engine exports no step counter", data=data)
    if tokens_a_step < TOKENS_A_STEP:
        said = f"{what}, each right, but not batched: {tokens_a_step:.1f} tokens an engine step"
        return Outcome("fail", said, "see `max-num-seqs` in [engine.args]", data)
    return Outcome("pass", f"{what}, each right, {tokens_a_step:.1f} tokens an engine step", data=data)
