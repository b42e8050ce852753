"""Bodies of the demo's requests: texts, lengths and sampling put into the routes' documents. Pure."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stack.traffic.demo_phases import Recipe
from stack.traffic.demo_texts import DemoTexts

CHAT, COMPLETION = "/v1/chat/completions", "/v1/completions"
# Source: vLLM 0.32 answers 404 to the first and 400 to the second (OpenAI's errors).
MISTAKES = ({"model": "a-model-that-is-not-here"}, {"max_tokens": -1})


@dataclass(frozen=True)
class Engine:
    """What bodies must fit.

    Attributes:
        model: The served model name.
        route: `CHAT`, or `COMPLETION` where the model has no chat template.
        max_model_len: The longest request, prompt and answer together, in tokens.
        characters_per_token: Of the demo's texts.
    """

    model: str
    route: str = CHAT
    max_model_len: int = 2048
    characters_per_token: float = 3.0


def build_body(
    engine: Engine, recipe: Recipe, turns: Sequence[Mapping[str, str]], answer_tokens: int, chance: random.Random
) -> dict[str, Any]:
    """Give the document of one request.

    Args:
        engine: What it must fit.
        recipe: Its kind.
        turns: The conversation, the last turn the user's.
        answer_tokens: The longest answer.
        chance: Decides on streaming and sampling.
    """
    body: dict[str, Any] = {"model": engine.model, **render_turns(engine.route, turns), "max_tokens": answer_tokens}
    if chance.random() < recipe.streamed:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    # Sampled ones have no seed: on a CPU, vLLM's engine ends ("CPU Generator does not use offset") when the prompt of a
    # seeded request is read in several steps. Source: seen with 0.31.0; v1/worker/gpu_model_runner.py.
    body["temperature"] = chance.choice((0, 0.7))
    if recipe.runs_to_limit:
        body["ignore_eos"] = True
    if recipe.stops_at is not None:
        body["stop"] = [recipe.stops_at]
    return body


def build_refused(number: int, body: Mapping[str, Any]) -> dict[str, Any]:
    """Give a document that an engine refuses with a status of 400 to 499, another one for each number."""
    return {**body, **MISTAKES[number % len(MISTAKES)]}


def render_turns(route: str, turns: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Give a conversation as the route takes it."""
    if route == CHAT:
        return {"messages": [dict(turn) for turn in turns]}
    lines = [f"{turn['role'].capitalize()}: {turn['content']}" for turn in turns]
    return {"prompt": "\n".join([*lines, "Assistant:"])}


def build_turns(
    engine: Engine, recipe: Recipe, texts: DemoTexts, prompt_tokens: int, chance: random.Random
) -> list[list[dict[str, str]]]:
    """Give the conversations of one sender, one for each request that he sends: a dialogue grows from turn to turn.

    Args:
        engine: What they must fit.
        recipe: Their kind.
        texts: The demo's texts.
        prompt_tokens: How long a `long` one is.
        chance: Decides what is said.
    """
    if recipe.text == "dialogue":
        said = chance.choice(texts.dialogues)
        turns = [_turn("assistant" if index % 2 else "user", text) for index, text in enumerate(said)]
        return [turns[: length + 1] for length in range(0, len(turns), 2)]
    if recipe.text == "shared":
        return [[_turn("system", _cut(engine, chance.choice(texts.systems), 0.5)), _turn("user", _ask(texts, chance))]]
    if recipe.text == "long":
        return [[_turn("user", build_long_text(engine, texts, prompt_tokens, chance))]]
    return [[_turn("user", _ask(texts, chance) if recipe.text == "question" else chance.choice(texts.stories))]]


def build_long_text(engine: Engine, texts: DemoTexts, tokens: int, chance: random.Random) -> str:
    """Give notes of about so many tokens with a question behind them; none begins as another, so no cache knows it."""
    wanted = int(min(tokens, engine.max_model_len // 2) * engine.characters_per_token)
    notes = f"Notes {chance.randrange(10**6)}. "
    while len(notes) < wanted:
        notes += " ".join(chance.sample(texts.paragraphs, len(texts.paragraphs))) + " "
    return f"{notes[:wanted]}\n\nWhat are these notes about?"


def _ask(texts: DemoTexts, chance: random.Random) -> str:
    return chance.choice(texts.questions)


def _cut(engine: Engine, text: str, share: float) -> str:
    return text[: int(engine.max_model_len * engine.characters_per_token * share)]


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
