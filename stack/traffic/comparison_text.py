"""Compare two generated texts up to the first token that differs, and tell a near tie from a difference. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from stack.traffic.engine_answers import Answer, ScoredToken


class Parting(Protocol):
    """Where two token sequences part."""

    @property
    def index(self) -> int | None:
        """Give the first position that differs, or None when the sequences are the same."""

    @property
    def gap_nats(self) -> float | None:
        """Give how far apart the two tokens were there, or None when neither side tells."""

    @property
    def is_fine(self) -> bool:
        """Tell whether they are the same or part at a near tie."""


Rule = Callable[[Sequence[ScoredToken], Sequence[ScoredToken]], Parting]


@dataclass(frozen=True)
class TextComparison:
    """Two texts side by side.

    Attributes:
        is_same: Whether they are the same, as far as both go where one was cut off.
        is_near_tie: Whether they part where the model was undecided.
        token_index: The first token that differs, from 0; None where no side has tokens.
        character_index: The first character that differs, from 0.
        gap_nats: How far apart the two tokens were; None when neither side tells.
        shift_nats: Mean distance of the scores of the same tokens before; None where one side has none.
        parted: Then and now, the token that differs with its score; None where that side has none.
    """

    is_same: bool
    is_near_tie: bool = False
    token_index: int | None = None
    character_index: int | None = None
    gap_nats: float | None = None
    shift_nats: float | None = None
    parted: tuple[ScoredToken | None, ScoredToken | None] = (None, None)

    def describe(self) -> str:
        """Say in words where they part."""
        at = f"character {(self.character_index or 0) + 1}"
        at = at if self.token_index is None else f"token {self.token_index + 1}"
        if self.gap_nats is None:
            return f"the text parts at {at}; how near a tie, no scores tell"
        kind = "a near tie" if self.is_near_tie else "no near tie"
        return f"the text parts at {at}, {kind} (gap {self.gap_nats:.2f} nats)"


def compare_answers(
    expected: Answer,
    observed: Answer,
    rule: Rule,
    *,
    forms: tuple[bool | None, bool | None],
    is_cut: bool,
    is_greedy: bool,
) -> TextComparison:
    """Compare two answers to one request.

    Args:
        expected: The earlier answer.
        observed: The answer now.
        rule: Tells a near tie.
        forms: Of each side whether its scored tokens are named by id (else by their text; None: none is scored).
        is_cut: Whether a client hung up on one of them: then one may be the start of the other.
        is_greedy: Whether the likeliest token is taken; else scores say nothing about ties.
    """
    then, now = _render(expected), _render(observed)
    shift = _measure_shift(expected.tokens, observed.tokens)
    if then == now or (is_cut and (then.startswith(now) or now.startswith(then))):
        return TextComparison(True, shift_nats=shift)
    character = next((at for at, (a, b) in enumerate(zip(then, now, strict=False)) if a != b), min(len(then), len(now)))
    parting = _find_parting(expected, observed, rule, forms) if is_greedy else None
    if parting is None or parting.index is None:
        return TextComparison(False, character_index=character, shift_nats=shift)
    sides = [side.tokens[parting.index : parting.index + 1] for side in (expected, observed)]
    parted = (next(iter(sides[0]), None), next(iter(sides[1]), None))
    return TextComparison(False, parting.is_fine, parting.index, character, parting.gap_nats, shift, parted)


def _render(answer: Answer) -> str:
    """Give all that was said: reasoning, text and the functions called, each part marked."""
    parts = [("reasoning", answer.reasoning), ("text", answer.text)]
    parts += [(f"call {name}", arguments) for name, arguments in answer.tool_calls]
    marked = [(name, said) for name, said in parts if said]
    if [name for name, _ in marked] in ([], ["text"]):
        return answer.text
    return "\x00".join(f"{name}\x00{said}" for name, said in marked)


def _find_parting(
    expected: Answer, observed: Answer, rule: Rule, forms: tuple[bool | None, bool | None]
) -> Parting | None:
    """Apply the rule to the tokens of both sides, or to those of one side and the text of the other."""
    if forms[0] is not None and forms[0] == forms[1]:
        return rule(expected.tokens, observed.tokens)
    for form, scored, other in ((forms[1], observed, expected), (forms[0], expected, observed)):
        # Ids cannot be laid over a text, nor can tokens that are not the text (special tokens, bytes).
        if form is False and _spell(scored.tokens).startswith(scored.text) and scored.tokens:
            return rule(_lay_over(scored.tokens, other.text), scored.tokens)
    return None


def _spell(tokens: Sequence[ScoredToken]) -> str:
    return "".join(token.token for token in tokens)


def _lay_over(tokens: Sequence[ScoredToken], text: str) -> list[ScoredToken]:
    """Give the tokens as far as they spell the text, and then the one that the text goes on with.

    Of the likeliest tokens at that position it is the longest with which the text goes on; where none is, a token
    that no list holds, so that the rule sees that the text's own was not among the likeliest.
    """
    same: list[ScoredToken] = []
    at = 0
    for token in tokens:
        if not text.startswith(token.token, at) or at >= len(text):
            rest = text[at:]
            if not rest:
                return same
            rivals = [name for name in token.top if name and name != token.token and rest.startswith(name)]
            return [*same, ScoredToken(max(rivals, key=len, default=rest), float("-inf"))]
        same.append(token)
        at += len(token.token)
    return same if at >= len(text) else [*same, ScoredToken(text[at:], float("-inf"))]


def _measure_shift(expected: Sequence[ScoredToken], observed: Sequence[ScoredToken]) -> float | None:
    gaps = []
    for then, now in zip(expected, observed, strict=False):
        if then.token != now.token:
            break
        gaps.append(abs(then.logprob - now.logprob))
    return sum(gaps) / len(gaps) if gaps else None
