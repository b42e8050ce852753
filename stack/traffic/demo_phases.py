"""The demo as a table: which traffic, for how long, and on which panels it shows. Pure data.

Shares, loads and lengths are what is wished; `demo_plan` makes of them what the engine manages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Text = Literal["dialogue", "question", "shared", "long", "story"]
End = Literal["answer", "left", "refused"]


@dataclass(frozen=True)
class Recipe:
    """One kind of request.

    Attributes:
        text: What it says.
        answer_tokens: The longest answer.
        prompt_tokens: Of a `long` one: how long the prompt is.
        streamed: The share of them that are streamed.
        ends: How it ends: with an answer, because the client left, or because the engine refused it.
        runs_to_limit: Whether the answer may not end before its longest.
        stops_at: A text at which the answer ends, besides where the model ends it.
    """

    text: Text
    answer_tokens: int
    prompt_tokens: int = 0
    streamed: float = 0.5
    ends: End = "answer"
    runs_to_limit: bool = False
    stops_at: str | None = None


RECIPES = {
    "conversation": Recipe("dialogue", 40, streamed=0.7),
    "question": Recipe("question", 32, streamed=0.4, stops_at="."),
    "with the same beginning": Recipe("shared", 24, streamed=0.6),
    "long prompt": Recipe("long", 16, prompt_tokens=1500, streamed=0.8),
    "story": Recipe("story", 64, streamed=1.0, runs_to_limit=True),
    "one of a crowd": Recipe("long", 4, prompt_tokens=160, streamed=0.5, runs_to_limit=True),
    "given up": Recipe("story", 256, streamed=1.0, ends="left", runs_to_limit=True),
    "refused": Recipe("question", 8, streamed=0.0, ends="refused"),
}


@dataclass(frozen=True)
class Part:
    """Some traffic of a phase: requests of one kind.

    Attributes:
        recipe: A name in `RECIPES`.
        load: The share of what the engine manages that they take, spread over the phase.
        least: So many at least.
        is_at_once: Whether all are sent in one moment, as many as the engine works off within `load` of the phase.
    """

    recipe: str
    load: float
    least: int = 1
    is_at_once: bool = False


@dataclass(frozen=True)
class Look:
    """A panel on which a phase shows.

    Attributes:
        board: The dashboard's uid.
        panel: The panel's title.
        shows: What is to be seen there.
    """

    board: str
    panel: str
    shows: str


@dataclass(frozen=True)
class Phase:
    """A stretch of the demo.

    Attributes:
        name: Its name.
        share: How much of the whole time it takes; all shares are 1.
        does: What happens in it.
        parts: The traffic; none: nobody asks anything.
        looks: Where to look, in this order.
    """

    name: str
    share: float
    does: str
    parts: tuple[Part, ...]
    looks: tuple[Look, ...]


PHASES = (
    Phase(
        "chat",
        0.20,
        "conversations of several turns and short questions, streamed or not",
        (Part("conversation", 0.25, 2), Part("question", 0.10, 4)),
        (
            Look("overview", "TTFT (time to first token)", "answers begin at once"),
            Look("overview", "Requests by outcome", "`stop` and `length`, side by side"),
        ),
    ),
    Phase(
        "shared prefix",
        0.14,
        "many requests that begin with the same long instructions",
        (Part("with the same beginning", 0.35, 6),),
        (
            Look("kv-cache", "Prefix cache hits: now, over an hour, over a day", "rises: the beginning is read once"),
            Look("kv-cache", "Where prompt tokens come from", "`local_cache_hit` grows beside `local_compute`"),
        ),
    ),
    Phase(
        "long prompts",
        0.14,
        "few requests that bring a lot to read",
        (Part("long prompt", 0.45, 2), Part("question", 0.05, 1)),
        (
            Look("requests", "Prompt lengths", "a second band far above the first"),
            Look("requests", "What requests spend their time with", "prefill takes its share"),
        ),
    ),
    Phase(
        "burst",
        0.20,
        "more at once than the engine takes: the rest waits",
        (Part("one of a crowd", 0.9, 24, is_at_once=True),),
        (
            Look("overview", "Requests running and waiting", "both jump, then the queue is worked off"),
            Look("kv-cache", "Why requests wait", "`capacity`"),
            Look("requests", "Slow phases (p95 of requests)", "the queue takes longer than the work"),
        ),
    ),
    Phase(
        "quiet",
        0.08,
        "nobody asks anything",
        (),
        (Look("overview", "Throughput", "falls to nothing, and no alert minds"),),
    ),
    Phase(
        "trouble",
        0.12,
        "clients that leave in the middle of an answer, and requests that are refused",
        (Part("given up", 0.15, 3), Part("refused", 0.0, 6), Part("question", 0.10, 2)),
        (
            Look("requests", "Ends of requests", "`abort`, for each client that left"),
            Look("requests", "HTTP answers by status", "`4xx`, for each that was refused"),
        ),
    ),
    Phase(
        "stories",
        0.12,
        "long answers side by side, which share the engine's steps",
        (Part("story", 0.40, 4), Part("conversation", 0.10, 1)),
        (
            Look("kv-cache", "Tokens of one engine step", "one token for each running request, and seldom more"),
            Look("slo", "Missed in the last 5 minutes", "what the burst has cost"),
        ),
    ),
)
