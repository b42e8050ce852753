"""Which entries of the catalogue a log's line may tell, line by line. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from stack.failures.catalogue import Entry, load_catalogue
from stack.failures.log_lines import QUIET_LEVELS, LogLine

_NEAR_LINES = 200


class LineMatcher:
    """Takes a log's lines in their order; its memory does not grow with the log."""

    def __init__(self) -> None:
        entries = [item for item in enumerate(load_catalogue()) if not item[1].is_last]
        self._quiet = [item for item in entries if item[1].is_quiet]
        self._loud = entries
        self._near = [entry for _, entry in entries if entry.near is not None]
        self._near_at: dict[str, int] = {}
        self._in_frames: set[str] = set()

    def list_candidates(self, line: LogLine) -> Iterator[tuple[int, Entry]]:
        """Give the entries that the next line may tell, each with its place in the catalogue."""
        for entry in self._near:
            if entry.near is not None and entry.near.search(line.text):
                self._near_at[entry.id] = line.number
        if self._is_frame(line):
            return
        for order, entry in self._quiet if line.level in QUIET_LEVELS else self._loud:
            if self._is_near(entry, line):
                yield order, entry

    def find_near(self, entry: Entry) -> int:
        """Give the number of the line that spoke last of what an entry must be near to; 0 where none did."""
        return self._near_at.get(entry.id, 0)

    def find_failure(self, line: LogLine) -> str | None:
        """Give the failure that the next line tells by itself, or None; what tells little counts last."""
        if not line.text.strip():
            return None
        found = [entry for _, entry in self.list_candidates(line) if entry.search(line.text)]
        return min(found, key=lambda entry: entry.is_general).id if found else None

    def _is_frame(self, line: LogLine) -> bool:
        # A traceback shows code, and code that raises an error holds the error's words.
        if line.text.startswith("  File "):
            self._in_frames.add(line.process)
        elif not line.text.startswith(" "):
            self._in_frames.discard(line.process)
        return line.text.startswith("  File ") or (line.process in self._in_frames and line.text.startswith("    "))

    def _is_near(self, entry: Entry, line: LogLine) -> bool:
        return entry.near is None or line.number - self._near_at.get(entry.id, -_NEAR_LINES) < _NEAR_LINES
