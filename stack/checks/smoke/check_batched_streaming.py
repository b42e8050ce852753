"""The same as `batched`, streamed: no stream gets another one's chunks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stack.checks.smoke.batching import judge_answers, run_batched
from stack.checks.smoke.check import Check, Outcome, SmokeContext
from stack.checks.smoke.check_streaming import find_stream_faults, read_stream


@dataclass(frozen=True)
class _Streamed:
    tokens: Any
    token_ids: Any
    prompt_token_ids: Any
    faults: list[str]


def run(context: SmokeContext) -> Outcome:
    """Stream all prompts at once and judge each stream by its own prompt."""

    def ask(prompt: str, tokens: int) -> _Streamed:
        chunks = context.engine.stream_completion(prompt, max_tokens=tokens, ignore_eos=True, logprobs=1)
        seen = read_stream(list(chunks))
        return _Streamed(seen["tokens"], seen["token_ids"], seen["prompt_token_ids"], find_stream_faults(seen))

    answers, tokens_a_step = run_batched(context, ask)
    faults = [(number, answer.faults) for number, answer in enumerate(answers, 1) if answer.faults]
    if faults:
        number, said = faults[0]
        return Outcome("fail", f"{len(faults)} of {len(answers)} streams are broken; stream {number}: {said[0]}")
    return judge_answers(context, answers, tokens_a_step, what=f"{len(answers)} streams at once")


CHECK = Check("batched-streaming", run, order=120, model="generation", needs=("model-list",))
