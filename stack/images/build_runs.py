"""The programs that build images: heard line by line, and stopped with everything that they started and left.

An interrupt ends our process while threads still wait for a build; what they run and where they work is kept
here, so that whoever is interrupted can end it (`BuildRuns.stop`). Folders that a killed process left behind are
found by the next build: nobody holds the lock on them any more.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from stack.errors import CommandError, HostError
from stack.images.build_failures import explain_failure
from stack.progress import ProgressEvent, Report

logger = logging.getLogger(__name__)

PREFIX = "stack-build-"

# pip and apt write hundreds of lines: enough of them to see that it goes on.
_REPORT_INTERVAL_SECONDS = 5.0
_TAIL_LINES = 60
# mmdebstrap takes its root filesystem away when it is told to end.
_GRACE_SECONDS = 10.0
# A folder is not locked in the moment in which it is made.
_NEW_SECONDS = 60.0


class BuildRuns:
    """What builds of this process are doing; its methods may run side by side.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._processes: set[subprocess.Popen[str]] = set()
        self._folders: set[Path] = set()
        self._is_stopped = False

    def run(
        self,
        argv: Sequence[str],
        task: str,
        report: Report,
        environ: Mapping[str, str],
        parse_line: Callable[[str], str | None],
    ) -> None:
        """Run a program to its end and report what it says.

        Args:
            argv: The program and its arguments; never a secret.
            task: The task's name in reports.
            report: Told every line that `parse_line` makes something of.
            environ: The program's whole environment.
            parse_line: Gives what a line is worth telling, or None.

        Raises:
            CommandError: It failed, or was stopped; the last lines of its output are the detail.
        """
        started = self._clock()
        report(ProgressEvent(task, f"{argv[0]} started"))
        process = self._start(argv, environ)
        try:
            tail = self._follow(process, task, report, parse_line)
            returncode = process.wait()
        except BaseException:
            _end([process], self._clock)
            raise
        finally:
            assert process.stdout is not None
            process.stdout.close()
            with self._lock:
                self._processes.discard(process)
        seconds = self._clock() - started
        logger.debug("run %s: status %d after %.1f s", shlex.join(argv), returncode, seconds)
        if returncode:
            raise _build_error(argv, task, returncode, "\n".join(tail), seconds)

    def _follow(
        self, process: subprocess.Popen[str], task: str, report: Report, parse_line: Callable[[str], str | None]
    ) -> deque[str]:
        """Report what a program says until it says no more, and give its last lines."""
        tail: deque[str] = deque(maxlen=_TAIL_LINES)
        told = self._clock() - _REPORT_INTERVAL_SECONDS
        assert process.stdout is not None
        for line in process.stdout:
            tail.append(line.rstrip())
            said = parse_line(line)
            if said and self._clock() - told >= _REPORT_INTERVAL_SECONDS:
                report(ProgressEvent(task, said))
                told = self._clock()
        return tail

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """Give an empty folder of this user, gone when the block ends or the builds are stopped.

        Raises:
            HostError: There is no room for it, or for what the block writes into it.
        """
        with _translated_full_disk():
            yield from self._make_folder()

    def _make_folder(self) -> Iterator[Path]:
        sweep_folders(Path(tempfile.gettempdir()))
        path = Path(tempfile.mkdtemp(prefix=PREFIX))
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with self._lock:
            self._folders.add(path)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)
            os.close(descriptor)
            with self._lock:
                self._folders.discard(path)

    def stop(self) -> None:
        """End every program with all that it started, and take its folder away; nothing starts after that."""
        with self._lock:
            self._is_stopped = True
            processes, folders = list(self._processes), list(self._folders)
        _end(processes, self._clock)
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)

    def _start(self, argv: Sequence[str], environ: Mapping[str, str]) -> subprocess.Popen[str]:
        with self._lock:
            if self._is_stopped:
                raise CommandError(argv[:3], -signal.SIGTERM, message="stopped before it began")
            # A process group of its own: its children end with it, and a Ctrl-C reaches it through `stop` only.
            process = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=dict(environ),
                process_group=0,
            )
            self._processes.add(process)
        return process


def _build_error(argv: Sequence[str], task: str, returncode: int, output: str, seconds: float) -> CommandError:
    return CommandError(
        argv[:3],
        returncode,
        stderr=output,
        duration_seconds=seconds,
        message=f"{task} failed",
        hint=explain_failure(output),
    )


@contextmanager
def _translated_full_disk() -> Iterator[None]:
    try:
        yield
    except OSError as err:
        if err.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise HostError(
            f"{tempfile.gettempdir()}, where images are prepared, is full",
            hint=f"make room (`df -h {tempfile.gettempdir()}`), or name another place with TMPDIR",
        ) from err


def sweep_folders(parent: Path) -> None:
    """Take away what builds left that were killed: folders of this user that nobody holds."""
    for path in parent.glob(f"{PREFIX}*"):
        try:
            status = path.lstat()
            if status.st_uid != os.geteuid() or time.time() - status.st_ctime < _NEW_SECONDS:
                continue
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except BlockingIOError:
            continue
        finally:
            os.close(descriptor)


def _end(processes: Sequence[subprocess.Popen[str]], clock: Callable[[], float]) -> None:
    for process in processes:
        _signal(process, signal.SIGTERM)
    deadline = clock() + _GRACE_SECONDS
    for process in processes:
        try:
            process.wait(max(0.0, deadline - clock()))
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGKILL)
            process.wait()


def _signal(process: subprocess.Popen[str], number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        logger.debug("process group %d has ended already", process.pid)
