"""What the demo says: questions, conversations and notes, written for it and shipped with the tool."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class DemoTexts:
    """The demo's own texts.

    Attributes:
        questions: Short, each with a short answer.
        stories: Requests for more than anybody waits for.
        systems: Long system prompts that many requests share.
        paragraphs: Of which long prompts are made.
        dialogues: Turns of the user and the assistant, one after the other; the last one is the user's.
    """

    questions: tuple[str, ...]
    stories: tuple[str, ...]
    systems: tuple[str, ...]
    paragraphs: tuple[str, ...]
    dialogues: tuple[tuple[str, ...], ...]


@cache
def load_demo_texts() -> DemoTexts:
    """Read the texts."""
    table = tomllib.loads(Path(__file__).with_name("demo_texts.toml").read_text(encoding="utf-8"))
    return DemoTexts(**{name: tuple(tuple(v) if isinstance(v, list) else v for v in table[name]) for name in table})
