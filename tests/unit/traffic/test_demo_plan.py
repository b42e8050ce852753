"""The demo's plan fits the engine that it is made for, and is the same each time."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from stack.assets import asset_path
from stack.operations.demo.tour import find_panel
from stack.traffic.demo_body import COMPLETION, Engine
from stack.traffic.demo_pace import Pace
from stack.traffic.demo_phases import PHASES, RECIPES
from stack.traffic.demo_plan import MOST_AT_ONCE, MOST_PER_SECOND, DemoPlan, Limits, build_plan
from stack.traffic.demo_texts import load_demo_texts
from stack.traffic.record_line import parse_document, parse_record, render_record

TEXTS = load_demo_texts()
SLOW = Pace(itl_seconds=0.5, loaded_itl_seconds=1.0, tokens_per_second=8.0, prefill_tokens_per_second=60.0)
LAPTOP = Pace(0.02, 0.04, 150.0, 1500.0)
FAST = Pace(0.005, 0.006, 1500.0, 50_000.0)


def plan(pace: Pace = LAPTOP, engine: Engine | None = None, **limits: float) -> DemoPlan:
    return build_plan(PHASES, engine or Engine("m"), pace, Limits(**{"seconds": 120.0, **limits}), TEXTS)


def count(made: DemoPlan) -> Counter[str]:
    return Counter(one.recipe for one in made.planned)


def test_the_shares_of_the_phases_are_the_whole() -> None:
    assert sum(phase.share for phase in PHASES) == pytest.approx(1.0)
    assert len({phase.name for phase in PHASES}) == len(PHASES)
    assert any(not phase.parts for phase in PHASES)


@pytest.mark.parametrize("look", [look for phase in PHASES for look in phase.looks], ids=lambda look: look.panel)
def test_each_panel_to_look_at_is_on_its_dashboard(look) -> None:
    board = json.loads(asset_path("grafana", "dashboards", f"{look.board}.json").read_text())
    assert find_panel(board["panels"], look.panel)["targets"]


@pytest.mark.parametrize("pace", [SLOW, LAPTOP, FAST])
def test_every_kind_of_request_comes_at_any_pace(pace: Pace) -> None:
    made = plan(pace)
    assert set(count(made)) == set(RECIPES)
    assert made.offsets == sorted(made.offsets) and made.offsets[0] >= 0
    assert made.spans[-1].end_seconds == pytest.approx(120.0)


def test_the_same_seed_gives_the_same_requests_and_another_one_others() -> None:
    first, second, other = ([render_record(record, None) for record in plan(seed=seed)] for seed in (1, 1, 2))
    assert first == second != other


def test_a_slow_engine_is_asked_for_less() -> None:
    slow, laptop = plan(SLOW), plan(LAPTOP)
    assert len(slow) < len(laptop) < len(plan(FAST))
    answers = [one for one in slow.planned if RECIPES[one.recipe].ends == "answer"]
    assert all(one.answer_tokens * SLOW.loaded_itl_seconds <= 6.0 for one in answers)
    longest = max(one.prompt_tokens for one in slow.planned)
    assert longest < max(one.prompt_tokens for one in laptop.planned)


def test_a_fast_engine_is_not_flooded() -> None:
    made = plan(FAST, seconds=3600.0)
    crowd = count(made)["one of a crowd"]
    assert crowd <= MOST_AT_ONCE
    parts = sum(len(phase.parts) for phase in PHASES)
    assert len(made) - crowd < 3600 * MOST_PER_SECOND * parts


def test_the_crowd_comes_in_one_moment_and_is_more_than_the_places_where_that_is_bearable() -> None:
    made = [one for one in plan(LAPTOP, max_num_seqs=16).planned if one.recipe == "one of a crowd"]
    assert len({one.offset_seconds for one in made}) == 1
    assert 16 < len(made) <= 32


@pytest.mark.parametrize("pace", [Pace(0.1, 0.2, 50.0, 250.0), LAPTOP, FAST])
def test_the_crowd_brings_more_than_the_engine_reads_in_one_step(pace: Pace) -> None:
    made = [one for one in plan(pace).planned if one.recipe == "one of a crowd"]
    assert sum(one.prompt_tokens for one in made) > 2 * 2048


@pytest.mark.parametrize("length", [256, 2048, 131072])
def test_prompts_and_answers_fit_the_context(length: int) -> None:
    engine = Engine("m", max_model_len=length, characters_per_token=4.0)
    made = plan(FAST, engine)
    for at, one in enumerate(made.planned):
        if RECIPES[one.recipe].ends == "refused":
            continue
        said = "".join(turn["content"] for turn in made[at].body["messages"])
        # A word or two of the template come on top.
        assert len(said) / 4.0 + one.answer_tokens < length * 0.95, one


def test_a_client_leaves_long_before_its_answer_is_whole() -> None:
    for pace in (SLOW, LAPTOP, FAST):
        left = [one for one in plan(pace).planned if one.hang_up_seconds is not None]
        assert len(left) >= 3
        assert all(one.hang_up_seconds * 3 < one.answer_tokens * pace.itl_seconds for one in left)


def test_the_turns_of_a_conversation_come_one_after_the_other_and_begin_alike() -> None:
    made = plan()
    turns = [(one, made[at]) for at, one in enumerate(made.planned) if one.recipe == "conversation"]
    senders = {one.chance for one, _ in turns}
    for sender in senders:
        mine = sorted(((one.turn, one.offset_seconds, record) for one, record in turns if one.chance == sender))[:3]
        assert [turn for turn, _, _ in mine] == [0, 1, 2]
        said = [record.body["messages"] for _, _, record in mine]
        assert said[1][:1] == said[0] and said[2][:3] == said[1]
        assert mine[0][1] < mine[1][1] < mine[2][1]


def test_records_can_be_kept_and_read_again_and_their_names_are_unlike() -> None:
    made = plan()
    names = {record.custom_id for record in made}
    assert len(names) == len(made)
    for record in made[:20]:
        assert parse_record(parse_document(render_record(record, None))) == record


def test_a_model_without_a_chat_template_is_asked_for_completions() -> None:
    made = plan(engine=Engine("m", COMPLETION))
    assert {record.url for record in made} == {COMPLETION}
    assert all(record.body["prompt"].endswith("Assistant:") for record in made)


def test_streams_sampling_and_mistakes_are_mixed() -> None:
    made = plan()
    assert {record.is_streamed for record in made} == {True, False}
    assert {record.body["temperature"] for record in made} == {0, 0.7}
    assert not any("seed" in record.body for record in made)
    wrong = [record.body for record in made if "/refused" in record.custom_id]
    assert {body["max_tokens"] < 0 for body in wrong} == {True, False}
    assert {body["model"] == "m" for body in wrong} == {True, False}


def test_the_phase_of_a_moment_is_found() -> None:
    made = plan()
    for at, span in enumerate(made.spans):
        assert made.find_span(span.start_seconds) == at
        assert made.find_span(span.end_seconds - 0.01) == at
    assert made.find_span(10_000.0) == len(PHASES) - 1
