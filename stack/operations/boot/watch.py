"""Watch one start of the engine: its phases as they come, and its end if it ends."""

from __future__ import annotations

import datetime
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import docker

from stack.containers.boot_log import BootLog, parse_progress
from stack.containers.daemon import ExitWatch, ServiceState
from stack.containers.log_records import RawLine
from stack.containers.log_stream import stream_lines
from stack.errors import StackError
from stack.failures.log_lines import parse_message
from stack.operations.boot.failure import BootEnd, render_exit
from stack.operations.logs.keep import render_kept
from stack.progress import ProgressEvent, Report

logger = logging.getLogger(__name__)

_CATCH_UP_SECONDS = 2.0
_TAIL_LINES = 30


class BootWatch:
    """Follows the engine's log in a thread, and keeps it in a file that outlives the container.

    Close it when the boot is over.

    Args:
        connect: Makes a daemon connection; the follower and the exit watch need one each.
        state: The engine's container, just started.
        log_path: Where the log is kept.
        report: Where phases are reported.
        now: The machine's clock, which the daemon's stamps are from.
        clock: Seconds that only grow, also where the machine's clock is set meanwhile.
    """

    def __init__(
        self,
        connect: Callable[[], docker.DockerClient],
        state: ServiceState,
        log_path: Path,
        report: Report,
        *,
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.log = BootLog()
        self.lines: list[str] = []
        self.is_over = False
        self._report = report
        self._state = state
        self._started_at = state.started_at or now()
        self._age_seconds = max(0.0, (now() - self._started_at).total_seconds())
        self._clock, self._began = clock, clock()
        self._watched_from_seconds = self.elapsed_seconds()
        self._server_ready_seconds: float | None = None
        self._log_path = log_path
        self._is_serving = threading.Event()
        log_path.parent.mkdir(parents=True, exist_ok=True)
        self._clients = (connect(), connect())
        self._exit = ExitWatch(self._clients[0], state.container_id)
        report(ProgressEvent("boot", "the container is started"))
        self._thread = threading.Thread(target=self._follow, args=(self._clients[1], log_path), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let go of the daemon; what still waits for it ends with the process."""
        self.is_over = True
        for client in self._clients:
            client.close()

    @property
    def exit_status(self) -> int | None:
        """Give the container's exit status once it ended, else None."""
        return self._exit.status if self._exit.ended.is_set() else None

    def has_ended(self) -> bool:
        """Tell whether the container ended."""
        return self._exit.ended.is_set()

    def elapsed_seconds(self) -> float:
        """Give the seconds since the container was started, never negative where a clock was set back."""
        return self._age_seconds + self._clock() - self._began

    def note_server_ready(self) -> float:
        """Take note that the server answers; give when, in seconds since the container's start."""
        self._server_ready_seconds = self.elapsed_seconds()
        return self._server_ready_seconds

    def read_phase(self) -> tuple[str, float]:
        """Give the phase that the engine is in, and the seconds that it has been watched in it."""
        since, name = max(self.log.opened_at_seconds, self._watched_from_seconds), self.log.current
        if self._server_ready_seconds is not None:
            since, name = self._server_ready_seconds, "first-token"
        return name, self.elapsed_seconds() - since

    def read_cache_state(self) -> str:
        """Give what the log has told of the compile caches so far."""
        return self.log.cache_state

    def find_earlier_start(self) -> float | None:
        """Give when the engine began to serve, where that was before anybody watched, as after a reboot.

        In seconds since the container's start, as the log tells; the follower gets a moment to catch up with it.
        """
        self._is_serving.wait(_CATCH_UP_SECONDS)
        served_at = self.log.serving_at_seconds
        return served_at if served_at is not None and served_at < self._watched_from_seconds else None

    def tail(self) -> str:
        """Give the log's last lines."""
        return "\n".join(self.lines[-_TAIL_LINES:])

    def read_end(self) -> BootEnd:
        """Give what is known of a boot that gave no token so far."""
        return BootEnd(self.lines, self.tail(), self.elapsed_seconds(), self.exit_status, self._exit.was_oom_killed)

    def note_exit(self) -> None:
        """Write how the container ended behind its kept log: what it said itself may not tell."""
        # The follower may still be reading the last lines when the daemon already tells the exit.
        self._thread.join(timeout=2)
        said = render_exit(self.read_end())
        if said is not None:
            self.lines.append(said)
            try:
                with self._log_path.open("a") as file:
                    file.write(f"{said}\n")
            except OSError as err:
                logger.info("the engine's log cannot be kept: %s", err)

    def _follow(self, client: docker.DockerClient, log_path: Path) -> None:
        # Anew and not at the end: the daemon gives the log of this start from its beginning, also to the `up`
        # that goes on where an interrupted one stopped.
        try:
            with log_path.open("w", buffering=1) as file:
                for raw in stream_lines(client, self._state.container_id, follow=True, since=self._started_at):
                    self._take(raw, file)
                    if self.is_over:
                        return
        except (StackError, OSError) as err:
            # Readiness does not depend on the log: the boot goes on without it.
            logger.info("the engine's log cannot be followed: %s", err)

    def _take(self, raw: RawLine, file: TextIO) -> None:
        file.write(render_kept(raw) + "\n")
        line = raw.text.strip("\r")
        self.lines.append(line)
        if raw.at is None:
            return
        opened = self.log.add(line, (raw.at - self._started_at).total_seconds())
        if self.log.serving_at_seconds is not None:
            self._is_serving.set()
        percent = parse_progress(line)
        if self.is_over:
            return
        if opened:
            before = self.log.phases[-1]
            self._report(ProgressEvent("boot", f"{self.log.current} ({before.name} took {before.seconds:.1f} s)"))
        elif percent is not None:
            self._report(ProgressEvent("boot", f"{self.log.current} {percent} %"))
        elif self.log.current == "start" and (said := find_milestone(line)):
            self._report(ProgressEvent("boot", f"start: {said}"))


def find_milestone(line: str) -> str | None:
    """Give what is worth telling of the long stretch before the weights are loaded, or None."""
    text = parse_message(line).strip()
    for mark in ("Resolved architecture", "Using max model len", "Initializing a V1 LLM engine"):
        if text.startswith(mark):
            return text.partition(" with config")[0]
    return None
