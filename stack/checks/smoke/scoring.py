"""Asks the engine for scores: of given tokens, of alternatives at one place, of what it has just decoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stack.checks.likelihood import Agreement, compute_agreement
from stack.checks.smoke.target import Engine
from stack.errors import ServiceApiError

# vLLM refuses more than `--max-logprobs` (20 by default) alternatives in one request.
_MAX_CHOICES = 20

# Scores of a token when it is decoded and when it is read again differ by rounding only: SmolLM2-135M in
# bfloat16 on a CPU 0.00 to 0.05 in the mean over a text. The answer to another prompt of ours differs by
# 1.8 and more.
AGREEMENT_NATS = 0.25


@dataclass(frozen=True)
class Rescored:
    """How an answer's own scores agree with those that the engine gives when it reads the same tokens.

    Attributes:
        greatest_miss_nats: How far a decoded token lay below the likeliest one, at the worst place.
    """

    agreement: Agreement
    greatest_miss_nats: float

    @property
    def is_fine(self) -> bool:
        """Whether the answer belongs to its prompt and was decoded by the model that read it."""
        return self.agreement.mean_difference <= AGREEMENT_NATS


def is_refused(err: ServiceApiError) -> bool:
    """Whether the engine understood the request and declined it (a 4xx)."""
    status = getattr(err, "status_code", None)
    return status is not None and 400 <= status < 500


def render_turn(engine: Engine, question: str, answer: str) -> list[int]:
    """Give the tokens of a question and its answer as the chat template writes a past turn.

    A template that lets its model think writes the thinking block of a past turn closed, or leaves it out: an
    answer rendered so is scored where an answer stands.
    """
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return engine.fetch_chat_tokens(messages, add_generation_prompt=False)


def score_tokens(engine: Engine, prompts: Sequence[Sequence[int]]) -> list[list[float]]:
    """Give the log-probability of every token but the first, for each prompt, read in one go (prefill).

    Raises:
        ValueError: The engine scored another number of tokens.
    """
    return [[token.logprob for token in scored] for scored in _read_prompts(engine, prompts)]


def score_choices(
    engine: Engine, contexts: Sequence[Sequence[int]], choices: Sequence[Sequence[int]]
) -> list[Mapping[int, float]]:
    """Give, for each context, the log-probability of each of its choices as the next token."""
    union = sorted({token for tokens in choices for token in tokens})
    if len(union) <= _MAX_CHOICES:
        try:
            found = _score_at_once(engine, contexts, union)
        except ServiceApiError as err:
            if not is_refused(err):
                raise
        else:
            if all(token in scores for scores, tokens in zip(found, choices, strict=True) for token in tokens):
                return found
    # Commits before `logprob_token_ids` pass over it: every alternative is then read as a prompt of its own.
    prompts = [[*context, token] for context, tokens in zip(contexts, choices, strict=True) for token in tokens]
    last = iter([scores[-1] for scores in score_tokens(engine, prompts)])
    return [{token: next(last) for token in tokens} for tokens in choices]


def rescore_answers(engine: Engine, answers: Sequence[Any]) -> list[Rescored]:
    """Read what was decoded again, each answer after its own prompt, and compare the scores.

    Raises:
        ValueError: An answer came without its tokens or scores.
    """
    for answer in answers:
        if not answer.token_ids or not answer.prompt_token_ids or len(answer.tokens) != len(answer.token_ids):
            raise ValueError("an answer without its token ids or log-probabilities")
    prompts = [[*answer.prompt_token_ids, *answer.token_ids] for answer in answers]
    read = _read_prompts(engine, prompts)
    return [_compare(answer, scored) for answer, scored in zip(answers, read, strict=True)]


def _compare(answer: Any, scored: Sequence[Any]) -> Rescored:
    tail = scored[-len(answer.token_ids) :]
    agreement = compute_agreement([token.logprob for token in answer.tokens], [token.logprob for token in tail])
    return Rescored(agreement, max(max(token.top.values()) - token.logprob for token in tail))


def _score_at_once(
    engine: Engine, contexts: Sequence[Sequence[int]], tokens: Sequence[int]
) -> list[Mapping[int, float]]:
    answers = engine.run_completions(
        contexts, max_tokens=1, ignore_eos=True, logprobs=1, logprob_token_ids=list(tokens)
    )
    return [{int(key): value for key, value in answer.tokens[0].top.items() if key.isdigit()} for answer in answers]


def _read_prompts(engine: Engine, prompts: Sequence[Sequence[int]]) -> list[Sequence[Any]]:
    answers = engine.run_completions(prompts, max_tokens=1, ignore_eos=True, prompt_logprobs=1)
    if len(answers) != len(prompts):
        raise ValueError(f"{len(prompts)} prompts sent, {len(answers)} answered")
    for prompt, answer in zip(prompts, answers, strict=True):
        if len(answer.prompt_tokens) != len(prompt):
            raise ValueError(f"{len(prompt)} prompt tokens sent, {len(answer.prompt_tokens)} scored")
    return [[token for token in answer.prompt_tokens if token is not None] for answer in answers]
