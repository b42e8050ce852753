"""The engine's log lines turned into boot phases.

Pure: lines and times in, phases out. Lines are matched by message text, never by file and line number,
    because
those move with every commit.

Source: message texts of vLLM 0.31.0 and 0.32.0 and their order (v1/worker/gpu_worker.py, v1/engine/core.py),
    and
recorded boots of the CPU build.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from stack.failures.log_lines import parse_message

PHASES = ("load", "compile", "kv-cache", "graphs", "server", "first-token")

# Each pattern opens its phase, once; a phase ends where the next one opens. A GPU compiles before it sizes
# its KV cache, a CPU after that.
_OPENS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("load", re.compile(r"Starting to load model |Loading model from scratch")),
    (
        "compile",
        re.compile(r"Starting torch\.compile|Dynamo bytecode transform|Compiling a graph for|Directly load "),
    ),
    (
        "kv-cache",
        re.compile(
            r"Profiling CUDA graph memory|Available KV cache memory|(?:GPU|CPU) KV cache size|"
            r"(?:Explicitly|Auto) set \(.*KV cache"
        ),
    ),
    (
        "graphs",
        re.compile(r"Capturing CUDA graphs|Graph capturing finished|JIT kernel warmup finished"),
    ),
    ("server", re.compile(r"init engine \(profile|Supported tasks:|Starting vLLM server on")),
)

_CACHE_HIT = re.compile(r"Directly load AOT compilation from path|Directly load the compiled graph\(s\)")
_CACHE_MISS = re.compile(
    r"Compiling a graph for compile range|saved AOT compiled function|Compiling model again due to a load"
)
_KV_CACHE_SIZE = re.compile(r"(?:GPU|CPU) KV cache size")
_PROGRESS = re.compile(r"Loading safetensors checkpoint shards:\s+(\d+)%|Capturing CUDA graphs[^%]*?(\d+)%")
_SERVING = re.compile(r"Application startup complete|Uvicorn running on")
_EAGER = re.compile(r"[Cc]udagraph is disabled under eager mode|Enforce eager set|enforce_eager=True")


@dataclass(frozen=True)
class Phase:
    """One phase of a boot.

    Attributes:
        name: One of `PHASES`, or `start` for what comes before the engine loads the model.
        seconds: How long it lasted, in seconds.
    """

    name: str
    seconds: float


@dataclass
class BootLog:
    """What a boot's log has said so far.

    Feed it with `add(line, at_seconds)`, where `at_seconds` is the time since the container was started, and
    end it with `finish`. A phase opens once: a late line of an earlier phase changes nothing.
    """

    current: str = "start"
    opened_at_seconds: float = 0.0
    phases: list[Phase] = field(default_factory=list)
    saw_cache_hit: bool = False
    saw_cache_miss: bool = False
    is_eager: bool = False
    knows_kv_cache_size: bool = False
    serving_at_seconds: float | None = None

    def add(self, line: str, at_seconds: float) -> bool:
        """Take one line; tell whether it opened a new phase."""
        text = parse_message(line)
        self._read_facts(text)
        if self.serving_at_seconds is None and _SERVING.search(text):
            self.serving_at_seconds = at_seconds
        name = self._name_phase(text)
        if name is None or self._is_past(name):
            return False
        self._open(name, at_seconds)
        return True

    def finish(self, server_ready_seconds: float, first_token_seconds: float) -> tuple[Phase, ...]:
        """Close the boot: when the server answered and the first token came, since the container's start."""
        if self.current != "server":
            self._open("server", server_ready_seconds)
        self._open("first-token", max(server_ready_seconds, self.opened_at_seconds))
        self.phases.append(Phase("first-token", max(0.0, first_token_seconds - self.opened_at_seconds)))
        return tuple(self.phases)

    @property
    def cache_state(self) -> str:
        """`warm`, `cold` or `none` (an eager engine compiles nothing), by the engine's own words."""
        if self.saw_cache_miss:
            return "cold"
        if self.saw_cache_hit:
            return "warm"
        return "none" if self.is_eager else "unknown"

    def _name_phase(self, text: str) -> str | None:
        name = next((name for name, pattern in _OPENS if pattern.search(text)), None)
        if name == "graphs" and not self.knows_kv_cache_size:
            # To measure what graphs will need, vLLM captures a few for trial before it sizes the KV cache.
            return "kv-cache"
        return name

    def _is_past(self, name: str) -> bool:
        return name in (self.current, *(phase.name for phase in self.phases)) or self.current in (
            "server",
            "first-token",
        )

    def _read_facts(self, text: str) -> None:
        self.saw_cache_hit |= bool(_CACHE_HIT.search(text))
        self.saw_cache_miss |= bool(_CACHE_MISS.search(text))
        self.is_eager |= bool(_EAGER.search(text))
        self.knows_kv_cache_size |= bool(_KV_CACHE_SIZE.search(text))

    def _open(self, name: str, at_seconds: float) -> None:
        self.phases.append(Phase(self.current, max(0.0, at_seconds - self.opened_at_seconds)))
        self.current, self.opened_at_seconds = name, max(at_seconds, self.opened_at_seconds)


def parse_progress(line: str) -> int | None:
    """Give the percentage in a progress bar's line (weights' shards, graph capture), else None."""
    found = _PROGRESS.findall(line)
    return int(found[-1][0] or found[-1][1]) if found else None
