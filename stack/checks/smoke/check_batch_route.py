"""vLLM's batch route, where the engine has it, answers every conversation in its place."""

from __future__ import annotations

from stack.checks.smoke.batching import judge_answers
from stack.checks.smoke.check import Check, Outcome, SmokeContext
from stack.checks.smoke.defaults import TURN_ANSWERS
from stack.checks.smoke.scoring import is_refused
from stack.errors import ServiceApiError

_TOKENS = 8


def run(context: SmokeContext) -> Outcome:
    """Send several conversations in one request and judge each answer by its own."""
    if not context.target.model.has_chat_template:
        return Outcome("skip", "the model has no chat template")
    conversations = [[{"role": "user", "content": question}] for question, _ in TURN_ANSWERS]
    try:
        answers = context.engine.run_chat_batch(conversations, max_tokens=_TOKENS, top_logprobs=1)
    except ServiceApiError as err:
        if is_refused(err) and getattr(err, "status_code", None) in (404, 405):
            return Outcome("skip", "this engine has no /v1/chat/completions/batch")
        raise
    if len(answers) != len(conversations):
        return Outcome("fail", f"{len(conversations)} conversations sent, {len(answers)} answered")
    prompts = [context.engine.fetch_chat_tokens(conversation) for conversation in conversations]
    whole = [_with_prompt(answer, prompt) for answer, prompt in zip(answers, prompts, strict=True)]
    outcome = judge_answers(context, whole, None, what=f"{len(answers)} conversations in one request")
    # So few tokens cannot be told from everybody else's: whether they are batched is the other checks'
    # matter.
    said = outcome.message.partition("; the engine")[0]
    return outcome if outcome.status == "fail" else Outcome("pass", said, data=outcome.data)


class _with_prompt:  # noqa: N801 - a record that stands in for an answer
    def __init__(self, answer: object, prompt_token_ids: list[int]) -> None:
        self.tokens = answer.tokens  # type: ignore[attr-defined]
        self.token_ids = answer.token_ids  # type: ignore[attr-defined]
        self.prompt_token_ids = prompt_token_ids


CHECK = Check("batch-route", run, order=130, model="generation", needs=("model-list",))
