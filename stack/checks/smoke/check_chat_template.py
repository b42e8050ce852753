"""The chat template is the one that the model was trained on: the model expects its end of a turn."""

from __future__ import annotations

from collections.abc import Sequence

from stack.checks.smoke.check import Check, Outcome, SmokeContext
from stack.checks.smoke.defaults import TURN_ANSWERS, TURN_OTHER
from stack.checks.smoke.scoring import is_refused, render_turn, score_tokens
from stack.checks.smoke.target import Engine
from stack.errors import ServiceApiError

# The demo model gives its own full stop and end of turn -0.6 nats after a complete answer; the templates of other
# families (Llama 2, Llama 3, Gemma, Vicuna, Alpaca) get -5.1 at best. The best of three answers counts, as a
# talkative model goes on after some.
TURN_END_NATS = -4.0
HINT = "see `chat-template` in [engine.args]: the model was trained on another template"


def run(context: SmokeContext) -> Outcome:
    """Score the template's end of a turn after complete answers."""
    model, engine = context.target.model, context.engine
    if not model.has_chat_template:
        return Outcome("skip", "the model has no chat template")
    if model.is_reasoning:
        return Outcome("skip", "a reasoning model may end a past turn in another way than its own")
    try:
        turns = [render_turn(engine, question, answer) for question, answer in TURN_ANSWERS]
        other = render_turn(engine, *TURN_OTHER)
    except ServiceApiError as err:
        if is_refused(err):
            return Outcome("skip", f"the template takes no past turns: {err.message}")
        raise
    length = min(count_common_end(turn, other) for turn in turns)
    if not length:
        return Outcome("skip", "the template marks no end of a turn")
    shown = _count_shown(engine, turns[0][-length:])
    prompts = [turn[: len(turn) - length + shown] for turn in turns]
    # One token more than what all turns share: a tokenizer may merge the answer's full stop with the first sign of a
    # template's end (`.<`), and what follows is only copied from the turn before.
    best = max(sum(scores[-shown - 1 :]) for scores in score_tokens(engine, prompts))
    data = {"turn_end_nats": round(best, 3), "bound_nats": TURN_END_NATS}
    if not best >= TURN_END_NATS:
        said = f"the model does not expect the template's end of a turn: {best:.1f} nats"
        said += f", {TURN_END_NATS:.1f} at least"
        return Outcome("fail", said, HINT, data)
    return Outcome("pass", f"the model ends its turn as the template does ({best:.1f} nats)", data=data)


def count_common_end(first: Sequence[int], second: Sequence[int]) -> int:
    """Count the tokens that two sequences have in common at their end."""
    count = 0
    for ours, theirs in zip(reversed(first), reversed(second), strict=False):
        if ours != theirs:
            break
        count += 1
    return count


def _count_shown(engine: Engine, end: Sequence[int]) -> int:
    """Count the tokens without the white space behind them: nothing is generated after the end of a turn."""
    for shown in range(len(end), 0, -1):
        if engine.fetch_text([end[shown - 1]]).strip():
            return shown
    return len(end)


CHECK = Check("chat-template", run, order=50, model="generation", needs=("model-list",))
