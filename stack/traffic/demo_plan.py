"""The demo's requests with their times, made of the table, an engine's pace and a seed. Pure.

Nothing but the plan is kept: a request's document is built when it is sent, so that an hour takes little memory.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from stack.traffic.demo_body import Engine, build_body, build_refused, build_turns
from stack.traffic.demo_pace import Pace
from stack.traffic.demo_phases import RECIPES, Part, Phase, Recipe
from stack.traffic.demo_texts import DemoTexts
from stack.traffic.record import Record

MOST_PER_SECOND = 8.0
"""Requests of one part a second, however fast the engine is: a demo is looked at, not measured."""
MOST_AT_ONCE = 480
"""Of a crowd; the replay client sends no more than 512 at a time."""
# Who reads an answer on a screen waits no longer than that for its end.
_ANSWER_SECONDS = 6.0
_LONG_PREFILL_SECONDS = 3.0
_LEAST_ANSWER_TOKENS = 4
# Between an answer and the next turn, as a share of the phase.
_THINK_SHARES = (0.02, 0.08)
_MEAN_PROMPT_TOKENS = {"dialogue": 120, "question": 40, "shared": 60, "story": 40}
# What waits when all come at once is what the engine does not read in one step. Source: `max-num-batched-tokens` of
# vLLM 0.32's server is 2048 on a CPU (vllm/engine/arg_utils.py); on a GPU, which is faster, it is more.
_STEP_TOKENS, _STEPS, _MOST_CROWD_SECONDS = 2048, 2.5, 25.0
# Nothing begins in the last part of a phase: it has to end, too.
_LAST_START = 0.9


@dataclass(frozen=True)
class Limits:
    """What the demo must keep to.

    Attributes:
        seconds: How long all phases take together.
        seed: Decides everything that is left to chance.
        max_num_seqs: How many requests the engine takes at a time; None: not known.
    """

    seconds: float
    seed: int = 0
    max_num_seqs: int | None = None


@dataclass(frozen=True)
class Planned:
    """One request of the plan.

    Attributes:
        phase: The position of its phase.
        recipe: Its kind.
        number: Its number within phase and kind.
        offset_seconds: When it is sent, from the beginning.
        answer_tokens: Its longest answer.
        prompt_tokens: How long a `long` prompt is.
        chance: The seed of what it says.
        turn: Which turn of its sender's conversation it is.
        hang_up_seconds: When its client leaves, from sending; None: it waits.
    """

    phase: int
    recipe: str
    number: int
    offset_seconds: float
    answer_tokens: int
    prompt_tokens: int
    chance: str
    turn: int = 0
    hang_up_seconds: float | None = None


@dataclass(frozen=True)
class Span:
    """When a phase runs, in seconds from the beginning."""

    phase: Phase
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True)
class DemoPlan(Sequence[Record]):
    """The requests in the order of their times; each is built when it is asked for.

    Attributes:
        spans: The phases with their times.
        planned: The requests.
    """

    spans: tuple[Span, ...]
    planned: tuple[Planned, ...]
    engine: Engine
    texts: DemoTexts = field(repr=False)

    def __len__(self) -> int:
        return len(self.planned)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Any:
        """Build the record at a position."""
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        return _build_record(self, self.planned[index])

    @property
    def offsets(self) -> list[float]:
        """Give each request's time, in seconds from the beginning."""
        return [one.offset_seconds for one in self.planned]

    def find_span(self, seconds: float) -> int:
        """Give the position of the phase that runs then; after the end the last one."""
        running = [at for at, span in enumerate(self.spans) if span.start_seconds <= seconds]
        return running[-1] if running else 0


def build_plan(phases: Sequence[Phase], engine: Engine, pace: Pace, limits: Limits, texts: DemoTexts) -> DemoPlan:
    """Give the demo's requests for an engine of this pace; the same arguments give the same requests."""
    spans: list[Span] = []
    planned: list[Planned] = []
    began = 0.0
    for at, phase in enumerate(phases):
        span = Span(phase, began, began + phase.share * limits.seconds)
        began = span.end_seconds
        spans.append(span)
        for part in phase.parts:
            planned += _plan_part(at, span, part, engine, pace, limits, texts)
    planned.sort(key=lambda one: one.offset_seconds)
    return DemoPlan(tuple(spans), tuple(planned), engine, texts)


def _plan_part(
    at: int, span: Span, part: Part, engine: Engine, pace: Pace, limits: Limits, texts: DemoTexts
) -> Iterator[Planned]:
    recipe = RECIPES[part.recipe]
    chance = random.Random(f"{limits.seed}/{span.phase.name}/{part.recipe}")
    answer = fit_answer(recipe, engine, pace)
    prompt = fit_prompt(recipe, engine, pace)
    seconds = (span.end_seconds - span.start_seconds) * _LAST_START
    if part.is_at_once:
        count, prompt = fit_crowd(part, recipe, pace, limits, seconds, answer)
        starts = [0.0] * count
    else:
        cost = pace.estimate_seconds(prompt or _MEAN_PROMPT_TOKENS[recipe.text], answer)
        starts = _draw_starts(min(part.load / cost, MOST_PER_SECOND), seconds, part.least, chance)
    leaves = _find_hang_up(recipe, pace, answer)
    number = 0
    for start in starts:
        said = f"{limits.seed}/{span.phase.name}/{part.recipe}/{start:.6f}/{number}"
        due = span.start_seconds + start
        for turn in range(len(build_turns(engine, recipe, texts, 0, random.Random(said)))):
            yield Planned(at, part.recipe, number, due, answer, prompt, said, turn, leaves)
            number += 1
            # The next turn comes when the answer has been read.
            due += answer * pace.loaded_itl_seconds + seconds * chance.uniform(*_THINK_SHARES)


def fit_answer(recipe: Recipe, engine: Engine, pace: Pace) -> int:
    """Give the longest answer of a kind that is still to be waited for, and fits the engine."""
    if recipe.ends == "left":
        # Far more than comes until its client leaves.
        return max(_LEAST_ANSWER_TOKENS, min(engine.max_model_len // 2, 20 * int(_ANSWER_SECONDS / pace.itl_seconds)))
    longest = min(recipe.answer_tokens, int(_ANSWER_SECONDS / pace.loaded_itl_seconds), engine.max_model_len // 4)
    return max(_LEAST_ANSWER_TOKENS, longest)


def fit_prompt(recipe: Recipe, engine: Engine, pace: Pace) -> int:
    """Give the length of a `long` prompt that is read in bearable time; 0 for other kinds."""
    if recipe.text != "long":
        return 0
    return max(32, min(recipe.prompt_tokens, int(_LONG_PREFILL_SECONDS * pace.prefill_tokens_per_second)))


def fit_crowd(part: Part, recipe: Recipe, pace: Pace, limits: Limits, seconds: float, answer: int) -> tuple[int, int]:
    """Give how many come at once and with what prompts, so that they keep the engine busy for their share of a phase.

    More than the engine takes at a time is more than its places; longer prompts do where it is fast.
    """
    busy = part.load * seconds
    most = min(MOST_AT_ONCE, (limits.max_num_seqs or MOST_AT_ONCE) * 2)
    count = int(busy / pace.estimate_seconds(recipe.prompt_tokens, answer))
    count = max(part.least, min(most, count))
    left = busy / count - answer / pace.tokens_per_second
    fitting = min(int(left * pace.prefill_tokens_per_second), 8 * recipe.prompt_tokens)
    queueing = min(_STEP_TOKENS * _STEPS, _MOST_CROWD_SECONDS * pace.prefill_tokens_per_second) / count
    return count, max(32, fitting, int(queueing))


def _draw_starts(per_second: float, seconds: float, least: int, chance: random.Random) -> list[float]:
    """Give arrivals as they come by chance, at least so many of them."""
    starts: list[float] = []
    now = chance.expovariate(per_second) if per_second > 0 else seconds
    while now < seconds:
        starts.append(now)
        now += chance.expovariate(per_second)
    missing = least - len(starts)
    return sorted([*starts, *(seconds * (place + chance.random()) / max(1, missing) for place in range(missing))])


def _find_hang_up(recipe: Recipe, pace: Pace, answer: int) -> float | None:
    if recipe.ends != "left":
        return None
    return max(0.2, min(_ANSWER_SECONDS / 2, answer * pace.itl_seconds / 4))


def _build_record(plan: DemoPlan, one: Planned) -> Record:
    recipe, engine = RECIPES[one.recipe], plan.engine
    chance = random.Random(one.chance)
    turns = build_turns(engine, recipe, plan.texts, one.prompt_tokens, chance)[one.turn]
    body = build_body(engine, recipe, turns, one.answer_tokens, random.Random(f"{one.chance}/{one.turn}"))
    if recipe.ends == "refused":
        body = build_refused(one.number, body)
    name = f"{plan.spans[one.phase].phase.name}/{one.recipe}-{one.number}".replace(" ", "-")
    return Record(name, "POST", engine.route, body, round(one.offset_seconds, 3), one.hang_up_seconds)
