"""Files of records: OpenAI batch JSONL, with the arrival and the recorded answer beside each request."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stack.traffic.record import Record


def load_records(path: Path) -> Sequence[Record]:
    """Give the records of a file; all lines are checked now, each is read again when it is asked for.

    Raises:
        TraceError: Lines that cannot be used, all at once.
    """
    raise NotImplementedError


def load_builtin_records(*, is_pooling: bool = False) -> list[Record]:
    """Give the built-in greedy set, for engines that generate or (`is_pooling`) embed."""
    raise NotImplementedError
