"""The model knows what it must know: right continuations outscore wrong ones by a margin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stack.checks.likelihood import find_split
from stack.checks.smoke.check import Check, Outcome, SmokeContext
from stack.checks.smoke.defaults import CHAT_CANARIES, COMPLETION_CANARIES
from stack.checks.smoke.scoring import is_refused, render_turn, score_choices
from stack.checks.smoke.target import Canary, Engine
from stack.errors import ServiceApiError

# Another kernel or number format moves a difference of two log-probabilities by 0.1 to 0.3 nats. The demo
# model wins its default canaries by 2.2 nats and more; rotary pairs permuted leave -1.9 to 1.0 in chat.
MARGIN_NATS = 1.0


@dataclass(frozen=True)
class _Place:
    """Where a right and a wrong continuation part: the tokens before, and one token each."""

    context: tuple[int, ...]
    right: int
    wrong: int


def run(context: SmokeContext) -> Outcome:
    """Score all canaries that fit the model."""
    canaries = _choose_canaries(context)
    if not canaries:
        return Outcome("skip", "no canary fits this model, and the default ones are switched off")
    places = [[_find_place(context.engine, canary, wrong) for wrong in canary.wrong] for canary in canaries]
    margins = _score_places(context.engine, places)
    data = {"margins": [round(margin, 3) for margin in margins], "margin_nats": MARGIN_NATS}
    lost = [canary for canary, margin in zip(canaries, margins, strict=True) if not margin >= MARGIN_NATS]
    if lost:
        # The prompts of the configuration may be private: only the tool's own are named.
        named = [f"`{canary.prompt}`" for canary in lost if canary in (*CHAT_CANARIES, *COMPLETION_CANARIES)]
        which = f" ({', '.join(named)})" if named else ""
        return Outcome(
            "fail",
            f"{len(lost)} of {len(canaries)} canaries do not prefer the right answer by {MARGIN_NATS:.0f} nat"
            f"{which}; smallest margin {min(margins):.2f}",
            "the weights, their conversion, the chat template or the engine are wrong: `stack warm --verify` "
            "checks the files",
            data,
        )
    return Outcome("pass", f"{len(canaries)} right answers, smallest margin {min(margins):.1f} nats", data=data)


def _choose_canaries(context: SmokeContext) -> list[Canary]:
    config, model = context.target.config, context.target.model
    own = [canary for canary in config.canaries if canary.kind == "completion" or model.has_chat_template]
    if not config.use_defaults:
        return own
    if model.has_chat_template and _takes_past_turns(context.engine):
        return [*CHAT_CANARIES, *own]
    return [*COMPLETION_CANARIES, *own]


def _takes_past_turns(engine: Engine) -> bool:
    try:
        render_turn(engine, "A?", "B")
    except ServiceApiError as err:
        if not is_refused(err):
            raise
        return False
    return True


def _find_place(engine: Engine, canary: Canary, wrong: str) -> _Place:
    if canary.kind == "chat":
        ours = render_turn(engine, canary.prompt, canary.right)
        theirs = render_turn(engine, canary.prompt, wrong)
    else:
        ours = engine.fetch_tokens(canary.prompt + canary.right, add_special_tokens=True)
        theirs = engine.fetch_tokens(canary.prompt + wrong, add_special_tokens=True)
    split = find_split(ours, theirs)
    return _Place(tuple(ours[:split]), ours[split], theirs[split])


def _score_places(engine: Engine, places: Sequence[Sequence[_Place]]) -> list[float]:
    """Give, for each canary, the margin over its best wrong continuation."""
    contexts: dict[tuple[int, ...], set[int]] = {}
    for place in (place for group in places for place in group):
        contexts.setdefault(place.context, set()).update((place.right, place.wrong))
    choices = [sorted(tokens) for tokens in contexts.values()]
    scores = dict(zip(contexts, score_choices(engine, list(contexts), choices), strict=True))
    return [
        min(scores[place.context][place.right] - scores[place.context][place.wrong] for place in group)
        for group in places
    ]


CHECK = Check("canaries", run, order=40, model="generation", needs=("model-list",))
