"""What `up` did and found, as it comes together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stack.containers.boot_log import Phase
from stack.containers.daemon import ServiceState
from stack.containers.layout import Layout
from stack.history.records import PhaseDelta
from stack.models.snapshot import Snapshot
from stack.operations.engine_defaults import EngineDefault
from stack.operations.images.identify import EngineIdentity
from stack.operations.resolve import Resolved
from stack.operations.up.plan import Plan
from stack.operations.up.timeline import Timeline


@dataclass(frozen=True)
class BootResult:
    """A boot that ended well.

    Attributes:
        boot_id: Its number in the history.
        phases: What it was made of, in order.
        total_seconds: From the container's start to the first token.
        cache_state: Whether the compile caches were warm, by the engine's own log.
        deltas: Its phases beside those of the last boot of the same kind.
        warm_seconds: What the first requests of the kinds that smoke sends took, in seconds.
        log_path: Where its log is kept.
    """

    boot_id: int
    phases: tuple[Phase, ...]
    total_seconds: float
    cache_state: str
    deltas: list[PhaseDelta]
    warm_seconds: float
    log_path: str


@dataclass
class UpResult:
    """What `up` did and found.

    Attributes:
        resolved: The decisions.
        plan: What had to be done.
        identity: Which vLLM runs.
        layout: What runs.
        snapshot: The model.
        defaults: Engine args that the tool chose.
        boot: The boot, where the engine was started.
        states: The containers at the end.
        warnings: What the user should know; a real run has told it when it was found.
        gpu_test: What the GPU was tried with, where this run tried it.
        timeline: When each step ran.
        lock_text: The stack.lock that was written for what runs.
    """

    resolved: Resolved
    plan: Plan
    identity: EngineIdentity | None = None
    layout: Layout | None = None
    snapshot: Snapshot | None = None
    defaults: list[EngineDefault] = field(default_factory=list)
    boot: BootResult | None = None
    states: Mapping[str, ServiceState] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    gpu_test: str | None = None
    timeline: Timeline = field(default_factory=Timeline)
    lock_text: str | None = None
