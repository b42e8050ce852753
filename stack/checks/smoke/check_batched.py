"""Different prompts at once are all answered right, without cross-talk, in shared engine steps."""

from __future__ import annotations

from typing import Any

from stack.checks.smoke.batching import judge_answers, run_batched
from stack.checks.smoke.check import Check, Outcome, SmokeContext


def run(context: SmokeContext) -> Outcome:
    """Ask all prompts at once and judge each answer by its own prompt."""

    def ask(prompt: str, tokens: int) -> Any:
        return context.engine.run_completion(prompt, max_tokens=tokens, ignore_eos=True, logprobs=1)

    answers, tokens_a_step = run_batched(context, ask)
    return judge_answers(context, answers, tokens_a_step, what=f"{len(answers)} different prompts at once")


CHECK = Check("batched", run, order=110, model="generation", needs=("model-list",))
