"""Asking for scores."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from stack.checks.smoke.scoring import rescore_answers, score_choices, score_tokens
from stack.errors import ServiceApiError


def token(logprob, **top):
    return SimpleNamespace(token="x", logprob=logprob, top=top or {"x": logprob})


class ScriptedEngine:
    """Answers completions from a list and remembers what it was asked."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def run_completions(self, prompts, **options):
        self.asked.append((prompts, options))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def refusal(status):
    err = ServiceApiError("engine", "http://x", "no")
    err.status_code = status
    return err


def read(*logprobs):
    return SimpleNamespace(prompt_tokens=(None, *(token(value) for value in logprobs)))


def test_alternatives_are_scored_at_one_place_in_one_step():
    top = {"7": -0.5, "8": -4.0}
    engine = ScriptedEngine([SimpleNamespace(tokens=[SimpleNamespace(top=top)])])

    assert score_choices(engine, [(1, 2)], [(7, 8)]) == [{7: -0.5, 8: -4.0}]
    assert engine.asked[0][1]["logprob_token_ids"] == [7, 8]


def test_a_commit_that_passes_over_the_alternatives_is_asked_for_each_as_a_prompt():
    engine = ScriptedEngine(
        [SimpleNamespace(tokens=[SimpleNamespace(top={"99": -0.1})])], [read(-3.0, -0.5), read(-3.0, -4.0)]
    )

    assert score_choices(engine, [(1, 2)], [(7, 8)]) == [{7: -0.5, 8: -4.0}]
    assert engine.asked[1][0] == [[1, 2, 7], [1, 2, 8]]


def test_a_commit_that_refuses_the_alternatives_is_asked_for_each_as_a_prompt():
    prompts = [
        SimpleNamespace(prompt_tokens=(None, token(-0.5))),
        SimpleNamespace(prompt_tokens=(None, token(-4.0))),
    ]
    engine = ScriptedEngine(refusal(400), prompts)

    assert score_choices(engine, [(1,)], [(7, 8)]) == [{7: -0.5, 8: -4.0}]


def test_an_engine_that_breaks_is_not_asked_again():
    engine = ScriptedEngine(refusal(500))

    with pytest.raises(ServiceApiError):
        score_choices(engine, [(1,)], [(7, 8)])


def test_more_alternatives_than_an_engine_allows_are_read_as_prompts():
    many = tuple(range(21))
    prompts = [SimpleNamespace(prompt_tokens=(None, token(-float(index)))) for index in many]
    engine = ScriptedEngine(prompts)

    assert score_choices(engine, [(1,)], [many])[0][20] == -20.0


@pytest.mark.parametrize("answers", [[], [read(-1.0), read(-1.0)], [read(-1.0)]])
def test_scores_that_do_not_fit_the_prompts_are_an_error(answers):
    with pytest.raises(ValueError, match="sent"):
        score_tokens(ScriptedEngine(answers), [[1, 2, 3]])


def test_an_answer_is_compared_with_the_reading_of_its_own_tokens():
    answer = SimpleNamespace(token_ids=(7, 8), prompt_token_ids=(1, 2), tokens=(token(-0.5), token(-1.0)))
    reading = SimpleNamespace(prompt_tokens=(None, token(-9.0), token(-0.7, a=-0.7, b=-0.2), token(-1.0)))
    engine = ScriptedEngine([reading])

    found = rescore_answers(engine, [answer])[0]

    assert engine.asked[0][0] == [[1, 2, 7, 8]]
    assert found.agreement.mean_difference == pytest.approx(0.1)
    assert found.greatest_miss_nats == pytest.approx(0.5)
    assert found.is_fine


def test_an_answer_without_scores_cannot_be_judged():
    answer = SimpleNamespace(token_ids=(7,), prompt_token_ids=(1,), tokens=())

    with pytest.raises(ValueError, match="without its token ids"):
        rescore_answers(ScriptedEngine(), [answer])
