"""`stack demo`: mixed traffic against the running engine, so that every panel moves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack.operations.session import Session


@dataclass(frozen=True)
class DemoOptions:
    """What was asked for.

    Attributes:
        minutes: How long, the measuring before it included.
        seed: The same engine speed and seed give the same requests at the same times.
        save_path: Where requests and answers are written as a trace, or None.
    """

    minutes: float = 2.0
    seed: int = 0
    save_path: Path | None = None


def run(session: Session, options: DemoOptions) -> dict[str, Any]:
    """Run the demo and give its document, with `is_passed` and `is_interrupted`.

    Raises:
        NotRunningError: No engine runs.
        ServiceApiError: It does not answer.
    """
    raise NotImplementedError
