"""Two answers to one record, and the class that they are put into."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stack.checks.near_tie import compare_greedy
from stack.traffic.comparison import compare, compare_record
from stack.traffic.engine_answers import Answer, ScoredToken, Usage
from stack.traffic.record import Record, RecordedResponse

GREEDY = Record("a", "POST", "/v1/completions", {"prompt": "secret", "temperature": 0})
SAMPLED = Record("a", "POST", "/v1/completions", {"prompt": "secret", "temperature": 1})
SEEDED = Record("a", "POST", "/v1/completions", {"prompt": "secret", "temperature": 1, "seed": 7})
OTHER = Record("a", "POST", "/v1/embeddings", {"input": "secret"})


def token(text, logprob=-0.1, **top):
    return ScoredToken(text, logprob, {text: logprob, **top})


def answer(*tokens, reason="stop", prompt=5, scored=True):
    text = "".join(one.token for one in tokens)
    return Answer(text, reason, Usage(prompt, len(tokens)), tuple(tokens) if scored else ())


def response(*answers, status=200, by_id=False, **more):
    mark = "token_id:" if by_id else ""
    names = [f"{mark}{one.token}" for one in answers[0].tokens] if answers else []
    body = {"choices": [{"logprobs": {"tokens": names}}]}
    return RecordedResponse(status, body, answers=answers, **more)


def judge(expected, observed, record=GREEDY):
    found = compare_record(record, expected, observed, compare_greedy)
    assert not any("secret" in reason for reason in found.reasons)
    return found.verdict, "; ".join(found.reasons)


RIGHT = (token("The"), token(" capital", -0.7, **{" city": -0.8, " town": -5.0}), token(" is"))


def test_the_same_answer_is_equal():
    assert judge(response(answer(*RIGHT)), response(answer(*RIGHT))) == ("equal", "")


def test_a_text_that_parts_at_a_near_tie_is_no_difference():
    other = answer(token("The"), token(" city", -0.75, **{" capital": -0.76}), reason="length")
    verdict, said = judge(response(answer(*RIGHT)), response(other))
    assert (verdict, said) == ("near tie", "the text parts at token 2, a near tie (gap 0.01 nats)")


def test_a_text_that_parts_where_the_model_was_sure_differs():
    other = answer(token("The"), token(" town", -0.1, **{" capital": -4.0}))
    parted = compare_record(GREEDY, response(answer(*RIGHT)), response(other), compare_greedy).parted
    assert [one.logprob for one in parted] == [-0.7, -0.1]
    assert judge(response(answer(*RIGHT)), response(other)) == (
        "differs", "the text parts at token 2, no near tie (gap 3.90 nats)",
    )  # fmt: skip


@pytest.mark.parametrize("by_id", [False, True])
def test_tokens_of_one_side_are_laid_over_the_text_of_the_other_where_they_are_text(by_id):
    plain = response(Answer("The city hall", "stop", Usage(5, 3)))
    verdict, said = judge(plain, response(answer(*RIGHT), by_id=by_id))
    assert verdict == ("differs" if by_id else "near tie")
    assert said.endswith("no scores tell" if by_id else "token 2, a near tie (gap 0.10 nats)")


def test_a_recorded_text_that_no_listed_token_goes_on_with_differs():
    assert judge(response(Answer("The moon", "stop")), response(answer(*RIGHT)))[0] == "differs"


def test_a_text_that_ends_earlier_is_compared_at_its_end():
    end = (token("The"), token(" capital", -0.7, **{"<end>": -0.8}))
    assert judge(response(Answer("The", "stop")), response(answer(*end)))[0] == "near tie"


def test_without_scores_texts_that_differ_differ():
    one, other = (response(Answer(text, "stop")) for text in ("The city", "The town"))
    assert judge(one, other) == ("differs", "the text parts at character 5; how near a tie, no scores tell")


def test_status_counts_and_ends_are_compared():
    right = response(answer(*RIGHT))
    assert judge(right, RecordedResponse(500)) == ("differs", "status 200, now 500")
    assert judge(RecordedResponse(400, {"error": 1}), RecordedResponse(400, {"error": 2})) == ("equal", "")
    assert judge(right, response(answer(*RIGHT, reason="length")))[1] == "finish reason stop, now length"
    assert judge(right, response(answer(*RIGHT, prompt=6))) == ("differs", "prompt tokens 5, now 6")
    assert judge(right, response(replace(answer(*RIGHT), usage=Usage(5, 9))))[0] == "differs"
    assert judge(right, response(answer(*RIGHT), answer(*RIGHT))) == ("differs", "1 choices, now 2")


def test_functions_that_are_called_with_something_else_differ():
    called = Answer("", "tool_calls", tool_calls=(("add", '{"a":1}'),))
    assert judge(response(called), response(replace(called, tool_calls=(("add", '{"a":2}'),))))[0] == "differs"
    assert judge(response(called), response(called))[0] == "equal"


def test_a_near_tie_with_another_prompt_length_differs():
    other = answer(token("The"), token(" city", -0.75, **{" capital": -0.76}), prompt=6)
    assert judge(response(answer(*RIGHT)), response(other))[0] == "differs"


def test_what_is_sampled_without_a_seed_is_not_compared_by_its_text():
    one, other = response(answer(*RIGHT)), response(answer(token("No"), reason="length"))
    assert judge(one, other, SAMPLED) == ("not compared", "not comparable: sampled without a seed")
    assert judge(one, one, SAMPLED)[0] == "equal"
    assert judge(one, response(answer(token("No"), prompt=6)), SAMPLED)[0] == "differs"
    assert judge(one, response(answer(token("No"), reason="abort")), SAMPLED)[0] == "differs"
    assert judge(one, RecordedResponse(500), SAMPLED)[0] == "differs"


def test_what_is_sampled_with_a_seed_has_no_near_ties():
    other = answer(token("The"), token(" city", -0.75, **{" capital": -0.76}))
    verdict, said = judge(response(answer(*RIGHT)), response(other), SEEDED)
    assert (verdict, said.split("; ")[-1]) == ("differs", "sampled with a seed: near ties cannot be told")


def test_an_answer_that_broke_off_failed_unless_it_did_so_before():
    right, broken = response(answer(*RIGHT)), response(answer(token("The")), error="broken-off")
    gone = RecordedResponse(None, error="no-answer")
    assert judge(right, broken) == ("failed", "status 200, broken-off after 1 tokens")
    assert judge(right, gone) == ("failed", "no-answer")
    assert judge(gone, gone)[0] == judge(broken, broken)[0] == "equal"
    assert judge(gone, right) == ("differs", "answered now, then no-answer")
    assert judge(None, gone)[0] == judge(None, RecordedResponse(503))[0] == "failed"


def test_where_a_client_hung_up_one_answer_may_be_the_start_of_the_other():
    whole, cut = response(answer(*RIGHT)), response(answer(*RIGHT[:2], reason=None), error="hung-up")
    nothing = RecordedResponse(None, error="hung-up")
    assert judge(whole, cut)[0] == judge(cut, whole)[0] == judge(nothing, cut)[0] == judge(cut, nothing)[0] == "equal"
    other = response(answer(token("The"), token(" town", -0.1, **{" capital": -4.0})), error="hung-up")
    assert judge(whole, other)[0] == "differs"
    assert judge(RecordedResponse(400), cut)[0] == "differs"


def test_what_was_not_recorded_or_not_sent_is_not_compared():
    assert judge(None, response(answer(*RIGHT))) == ("not compared", "no recorded answer")
    assert judge(None, RecordedResponse(400)) == ("not compared", "no recorded answer; status 400")
    assert judge(response(answer(*RIGHT)), None) == ("not compared", "not sent")


def test_answers_of_other_routes_are_equal_or_not_compared():
    one, other = ({"id": name, "data": [data], "usage": {"prompt_tokens": 3}} for name, data in (("x", 1), ("y", 2)))
    assert judge(RecordedResponse(200, one), RecordedResponse(200, {**one, "id": "z"}), OTHER)[0] == "equal"
    assert judge(RecordedResponse(200, one), RecordedResponse(200, other), OTHER)[0] == "not compared"
    longer = {**other, "usage": {"prompt_tokens": 4}}
    assert judge(RecordedResponse(200, one), RecordedResponse(200, longer), OTHER)[0] == "differs"


def test_the_scores_of_the_same_tokens_are_measured():
    moved = tuple(replace(one, logprob=one.logprob - 0.2) for one in RIGHT)
    found = compare_record(GREEDY, response(answer(*RIGHT)), response(answer(*moved)), compare_greedy)
    assert (found.verdict, round(found.shift_nats, 6)) == ("equal", 0.2)


scores = st.floats(-20, 0)
tokens = st.builds(lambda text, own, top: ScoredToken(text, own, {text: own, **top}), st.sampled_from("abc"), scores,
                   st.dictionaries(st.sampled_from("abc"), scores, max_size=3))  # fmt: skip
answers = st.builds(
    lambda made, reason, scored: Answer(
        "".join(one.token for one in made), reason, Usage(3, len(made)), tuple(made) if scored else ()
    ),
    st.lists(tokens, max_size=5),
    st.sampled_from(["stop", "length", "abort"]),
    st.booleans(),
)
responses = st.builds(
    lambda status, made, error: response(*(made if status == 200 else ()), status=status, error=error),
    st.sampled_from([200, 400, 500, None]),
    st.lists(answers, min_size=1, max_size=3),
    st.sampled_from(["", "hung-up", "broken-off", "no-answer"]),
)
anyone = st.sampled_from([GREEDY, SAMPLED, SEEDED, OTHER])


@settings(max_examples=40)
@given(st.lists(st.tuples(anyone, responses), max_size=5))
def test_a_run_compared_with_itself_is_equal(rows):
    made = [one for _, one in rows]
    report = compare([record for record, _ in rows], made, made, compare_greedy)
    assert report.is_passed
    assert report.counts["equal"] == len(rows)


@given(anyone, responses, responses)
def test_whether_it_passes_does_not_depend_on_which_was_first_unless_one_failed(record, one, other):
    there, back = judge(one, other, record)[0], judge(other, one, record)[0]
    assert there == back or {there, back} <= {"failed", "differs"}
