"""Bytes of a long step, counted across threads and reported as one task."""

from __future__ import annotations

import threading

from stack.progress import ProgressEvent, Report


class Meter:
    """Count bytes and report them.

    Args:
        report: Where progress goes.
        task: The step's name.
        total_bytes: Bytes in all.
        text: What the step is doing.
    """

    def __init__(self, report: Report, task: str, total_bytes: int, text: str = "") -> None:
        self._report = report
        self._task = task
        self._total_bytes = total_bytes
        self._text = text
        self._completed_bytes = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        """Count bytes (negative when bytes are thrown away) and report."""
        with self._lock:
            self._completed_bytes += count
            self._emit()

    def say(self, text: str) -> None:
        """Change what the step says it is doing, and report."""
        with self._lock:
            self._text = text
            self._emit()

    def _emit(self) -> None:
        self._report(ProgressEvent(self._task, self._text, self._completed_bytes, self._total_bytes))
