"""What can be configured of the smoke test: `[smoke]` of stack.toml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stack.config.schema_services import (
    Section,
)


class Canary(Section):
    """A question whose right answer must outscore wrong ones."""

    kind: Literal["chat", "completion"] = Field(
        default="completion", description="Through the chat template, or as plain text to continue"
    )
    prompt: str = Field(min_length=1, description="The question, or the text to continue")
    right: str = Field(min_length=1, description="The right continuation")
    wrong: list[Annotated[str, Field(min_length=1)]] = Field(
        min_length=1, description="Continuations that must score lower"
    )


class SmokeConfig(Section):
    """The smoke test."""

    enabled: bool = Field(default=True, description="Run smoke at the end of `up` (`--no-smoke` leaves it out)")
    timeout_seconds: int = Field(
        default=120, ge=1, le=3600, description="Longest time for the whole smoke test, in seconds"
    )
    canaries: list[Canary] = Field(
        default=[],
        description="More canaries, beside the built-in ones: `kind`, `prompt`, `right` and a list `wrong`",
        examples=[[{"kind": "completion", "prompt": "Two plus two is", "right": " four", "wrong": [" five"]}]],
    )
    texts: list[Annotated[str, Field(min_length=20)]] = Field(
        default=[],
        description="More texts whose likelihood is measured, beside the built-in ones",
        examples=[["The sun rises in the east and sets in the west."]],
    )
    concurrency: int = Field(
        default=8, ge=2, le=256, description="Different prompts that the batched check sends at once"
    )
