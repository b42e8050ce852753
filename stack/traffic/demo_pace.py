"""How fast an engine is, from its first answers: what the demo chooses its lengths and its rate by. Pure."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from stack.traffic.demo_body import COMPLETION, Engine, build_long_text, render_turns
from stack.traffic.demo_texts import DemoTexts
from stack.traffic.observation import Observation
from stack.traffic.record import Record

TOGETHER = 8
_PROBE_SECONDS = 6.0
_FIRST_TOKENS, _LEAST_TOKENS, _MOST_TOKENS = 8, 4, 24
_LONG_TOKENS = 500
# What an engine is taken for whose answers tell nothing: a slow one.
_SLOW_ITL_SECONDS, _SLOW_PREFILL = 0.2, 100.0


@dataclass(frozen=True)
class Pace:
    """How fast an engine is.

    Attributes:
        itl_seconds: Between two tokens of one answer alone.
        loaded_itl_seconds: The same with `TOGETHER` answers at a time.
        tokens_per_second: Generated with `TOGETHER` answers at a time.
        prefill_tokens_per_second: Read of a long prompt.
    """

    itl_seconds: float
    loaded_itl_seconds: float
    tokens_per_second: float
    prefill_tokens_per_second: float

    def estimate_seconds(self, prompt_tokens: float, answer_tokens: float) -> float:
        """Give how much of the engine's time a request takes beside others."""
        return prompt_tokens / self.prefill_tokens_per_second + answer_tokens / self.tokens_per_second


def build_first(engine: Engine, texts: DemoTexts) -> list[Record]:
    """Give the first request: it tells whether the route works, and wakes what starts with the first one."""
    return [_build(engine, "first", texts.questions[0], _FIRST_TOKENS)]


def build_probes(engine: Engine, texts: DemoTexts, first: Observation, nonce: int) -> list[list[Record]]:
    """Give what is sent next, each list at a time: a long prompt, then several answers together.

    Args:
        engine: The engine.
        texts: The demo's texts.
        first: What became of the first request: on a slow engine less is asked for.
        nonce: Another one for each run, so that the long prompt is in no cache.
    """
    itl = first.response.itl_seconds or _SLOW_ITL_SECONDS
    tokens = int(min(_MOST_TOKENS, max(_LEAST_TOKENS, _PROBE_SECONDS / itl / 2)))
    length = int(min(_LONG_TOKENS, max(64, 2 * _PROBE_SECONDS / max(first.response.ttft_seconds or 0.1, 0.1) * 16)))
    long_text = build_long_text(engine, texts, length, random.Random(nonce))
    stories = [texts.stories[number % len(texts.stories)] for number in range(TOGETHER)]
    together = [_build(engine, f"together-{number}", story, tokens) for number, story in enumerate(stories)]
    return [[_build(engine, "long", long_text, _LEAST_TOKENS)], together]


def read_pace(long: Observation, together: Sequence[Observation]) -> Pace:
    """Give the pace that the probes show; what they do not show is taken for slow."""
    usage = long.response.answers[0].usage if long.response.answers else None
    ttft = long.response.ttft_seconds
    prefill = usage.prompt_tokens / ttft if usage is not None and ttft else _SLOW_PREFILL
    alone = long.response.itl_seconds or _SLOW_ITL_SECONDS
    gaps = [one.response.itl_seconds for one in together if one.response.itl_seconds]
    loaded = statistics.median(gaps) if gaps else alone
    return Pace(alone, loaded, len(gaps or [0]) / loaded, prefill)


def read_characters_per_token(record: Record, observation: Observation) -> float | None:
    """Give how many characters of a sent prompt made a token; None where the answer does not tell."""
    usage = observation.response.answers[0].usage if observation.response.answers else None
    if usage is None or usage.prompt_tokens <= 0:
        return None
    said = record.body.get("prompt") or "".join(turn["content"] for turn in record.body["messages"])
    return len(said) / usage.prompt_tokens


def _build(engine: Engine, name: str, text: str, tokens: int) -> Record:
    turns = [{"role": "user", "content": text}]
    body = {
        "model": engine.model,
        **render_turns(engine.route, turns),
        "max_tokens": tokens,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return Record(f"measure/{name}", "POST", engine.route, body)


def fall_back(engine: Engine) -> Engine:
    """Give the engine as one whose model has no chat template."""
    return Engine(engine.model, COMPLETION, engine.max_model_len, engine.characters_per_token)
