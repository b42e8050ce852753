"""`stack bench`: run `vllm bench serve` of the running engine's image against the stack, and judge its figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack.operations.session import Session


@dataclass(frozen=True)
class BenchOptions:
    """What was asked for.

    Attributes:
        preset: The name of the load, or None for that of the run it is compared with, else `chat`.
        repeats: How often the load is measured.
        seconds: About how long one repeat takes.
        rate: Requests a second that arrive, whether others were answered or not; None: so many are kept under way.
        is_sweep: Whether the rate is raised to the knee, and measured there.
        minutes: How long a soak takes in all, or None for the preset's own.
        compare: A run's number, `last` or a commit to compare with, or None.
        save_path: Where the document is written too, or None.
    """

    preset: str | None = None
    repeats: int = 3
    seconds: float = 30.0
    rate: float | None = None
    is_sweep: bool = False
    minutes: float | None = None
    compare: str | None = None
    save_path: Path | None = None


def run(session: Session, options: BenchOptions) -> dict[str, Any]:
    """Measure the running engine and give the document: `is_passed`, `figures`, `run`.

    Raises:
        NotRunningError: No engine runs.
        CommandError: The client could not be run, or gave no result.
    """
    raise NotImplementedError
