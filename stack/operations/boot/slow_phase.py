"""Tell, while a boot runs, that a phase takes far longer than before, and what the engine does meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol

from stack.containers.activity import Activity
from stack.errors import StackError
from stack.history.pace import SlowPhase
from stack.history.records import BootRecord

_LOOK_EVERY_SECONDS = 1.0


class RunningBoot(Protocol):
    """What is asked of a boot that runs; `BootWatch` is one."""

    def read_phase(self) -> tuple[str, float]:
        """Give the current phase and the seconds that it has lasted."""

    def read_cache_state(self) -> str:
        """Give what the log has told of the compile caches."""

    def has_ended(self) -> bool:
        """Tell whether the container ended."""


class SlowPhaseWatch(AbstractContextManager["SlowPhaseWatch"]):
    """Looks at a boot once a second from a thread of its own: whoever waits for an answer may wait for long.

    It only tells; how long a boot may take is not its business.

    Args:
        boot: The boot.
        earlier: Earlier boots of the same kind that became ready, the newest first.
        look: Gives what the engine's container does.
        say: Takes a sentence for the user.
    """

    def __init__(
        self,
        boot: RunningBoot,
        earlier: Sequence[BootRecord],
        look: Callable[[], Activity],
        say: Callable[[str], None],
        *,
        every_seconds: float = _LOOK_EVERY_SECONDS,
    ) -> None:
        self._boot = boot
        self._slow = SlowPhase(earlier)
        self._look = look
        self._say = say
        self._every_seconds = every_seconds
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="slow phases", daemon=True)

    def __enter__(self) -> SlowPhaseWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_over.set()

    def describe(self) -> str | None:
        """Say what the engine does now, measured for a second; None where the daemon does not tell."""
        try:
            activity = self._look()
        except StackError:
            return None
        return f"the engine {activity}" + ("; `stack logs engine` shows what it said last" if activity.is_idle else "")

    def tick(self) -> None:
        """Look once, and tell what is to be told."""
        phase, seconds = self._boot.read_phase()
        slow = self._slow.note(phase, seconds, self._boot.read_cache_state())
        if slow is None or self._boot.has_ended():
            return
        doing = self.describe()
        # A look takes a second, in which the boot may have come to its end.
        if not self._is_over.is_set() and not self._boot.has_ended():
            self._say(f"{slow}: {doing or 'what the engine does cannot be told'}")

    def _run(self) -> None:
        while not self._is_over.wait(self._every_seconds):
            self.tick()
