"""Why a boot failed, by the catalogue of failures. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stack.errors import NotReadyError, ServiceExitedError
from stack.failures.explain import diagnose
from stack.operations.explain import VOCABULARIES

_WHOLE_LOG = "`stack logs engine` shows the whole log; the boot's own copy is kept in the state directory"
_TOLD = "see whether Docker runs (`docker info`), then `stack up`: it goes on from here"
_SIGTERM = 143
_LONGER = "`stack logs engine --follow` shows what it does; `engine.ready-timeout-seconds` gives it longer"


@dataclass(frozen=True)
class BootEnd:
    """What is known of a boot that gave no token.

    Attributes:
        lines: The engine's log.
        tail: Its last lines.
        elapsed_seconds: How long it took.
        status: The container's exit status, or None where that is not known.
        was_oom_killed: Whether the kernel killed it for memory.
    """

    lines: Sequence[str]
    tail: str
    elapsed_seconds: float
    status: int | None = None
    was_oom_killed: bool = False


def render_exit(end: BootEnd) -> str | None:
    """Give the end of a container as a line of a log, in Compose's and `docker inspect`'s words, or None."""
    if end.status is None:
        return None
    return f"engine exited with code {end.status}" + (" (OOMKilled: true)" if end.was_oom_killed else "")


def describe_exit(end: BootEnd) -> ServiceExitedError:
    """Give the error of an engine that ended: the known cause and what to do, else its first words and its last."""
    diagnosis = diagnose(end.lines, VOCABULARIES)
    known, first = diagnosis.explained, diagnosis.first_cause
    if known is not None:
        hint = f"{known.next}\n`stack explain` shows the line of the log that says so"
        return ServiceExitedError("engine", end.elapsed_seconds, known.cause, "the container ended", hint=hint)
    ended = "its container was removed, or Docker ended" if end.status is None else f"exit status {end.status}"
    if first is None and end.status == _SIGTERM:
        # Docker ends its containers so when it stops, and tells the exit while it still answers.
        said = f"it was told to end (exit status {end.status}), by somebody or by Docker as it stopped"
        return ServiceExitedError("engine", end.elapsed_seconds, said, "the container ended", end.tail, hint=_TOLD)
    said = str(first) if first else ended
    return ServiceExitedError("engine", end.elapsed_seconds, said, "the container ended", end.tail, hint=_WHOLE_LOG)


def describe_lateness(end: BootEnd, waited_seconds: float, state: str, last_probe: str) -> NotReadyError:
    """Give the error of an engine that runs and is not ready in time."""
    known = diagnose(end.lines, VOCABULARIES).explained
    hint = f"{known.cause}: {known.next}\n{_LONGER}" if known else _LONGER
    return NotReadyError("engine", waited_seconds, state, last_probe, end.tail, hint=hint)
