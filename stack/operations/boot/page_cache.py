"""Read the weights into memory beside everything else: an engine imports for half a minute before it loads them."""

from __future__ import annotations

import threading

from stack.errors import StackError
from stack.models.snapshot import Snapshot
from stack.models.warm import read_into_page_cache
from stack.operations.up.timeline import Timeline
from stack.progress import ProgressEvent, Report

STEP = "page cache"
# The reader looks whether it is stopped after every 16 MiB; a disk that hangs keeps nobody for longer than this.
_STOP_SECONDS = 1.0


class BackgroundReader:
    """Reads one snapshot's weights in a thread; nobody waits for it.

    Args:
        report: Where it reports.
        timeline: Takes its time.
    """

    def __init__(self, report: Report, timeline: Timeline) -> None:
        self._report = report
        self._timeline = timeline
        self._is_stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, snapshot: Snapshot) -> None:
        """Begin to read."""
        self._thread = threading.Thread(target=self._read, args=(snapshot,), name=STEP, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Leave what is not read yet: the engine has loaded the weights itself, or nobody will."""
        self._is_stopped.set()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)

    def _read(self, snapshot: Snapshot) -> None:
        with self._timeline.measure(STEP):
            try:
                read_into_page_cache(snapshot, self._report, is_stopped=self._is_stopped.is_set)
            except StackError as err:
                # A help and no more: what cannot be read, the engine will tell.
                self._report(ProgressEvent(f"{STEP} {snapshot.id}", err.message, state="failed"))
