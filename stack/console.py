"""The only printer: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from stack.console_lines import ProgressLines, escape_control, format_bytes, format_duration, render_table
from stack.console_screen import Frame, Rows, Wait, draw_frames, find_width
from stack.errors import StackError
from stack.progress import ProgressEvent

__all__ = ["Console", "ProgressLines", "escape_control", "format_bytes", "format_duration", "render_table"]

DETAIL_LINES = 20
_UNFIT_TERMINALS = ("dumb", "unknown")
SILENCE_SECONDS = 9.0
"""A little less than the ten that may pass in silence, for the heartbeat looks only now and then."""


class Console:
    """Writes what the tool has to say.

    Args:
        out: Takes results.
        err: Takes everything else.
        verbosity: `-v` minus `-q`; below 0 no progress and information, below -1 no warnings, above 0 all.
        environ: Read for `NO_COLOR`, `TERM` and the terminal's size.
        is_terminal: Whether `err` is a terminal; None asks it.
        stdin: Where answers come from; None means that nobody can answer.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        out: TextIO,
        err: TextIO,
        *,
        verbosity: int = 0,
        environ: Mapping[str, str],
        is_terminal: bool | None = None,
        stdin: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._out, self._err, self._stdin = out, err, stdin
        self._environ = environ
        self._clock = clock
        self.verbosity = verbosity
        terminal = err.isatty() if is_terminal is None else is_terminal
        self._draws = terminal and environ.get("TERM") not in _UNFIT_TERMINALS
        self._colours = self._draws and not environ.get("NO_COLOR")
        self._lock = threading.RLock()
        self._lines = ProgressLines()
        self._bars: Any = None
        self._is_live = False
        self._said_at = clock()

    def result(self, text: str, *, end: str = "\n") -> None:
        """Write a result, at once; control characters are escaped."""
        with self._cleared():
            _write_result(self._out, escape_control(text) + end)

    def json(self, document: Any) -> None:
        """Write one JSON document, keys in their order; pure ASCII, so that no terminal or pipe alters it."""
        with self._cleared():
            _write_result(self._out, json.dumps(document, indent=2, allow_nan=False) + "\n")

    def table(self, rows: Iterable[Sequence[object]], header: Sequence[str]) -> None:
        """Write a table as a result."""
        self.result(render_table(rows, header))

    @property
    def draws_results(self) -> bool:
        """Whether results go to a terminal that a view can be drawn on; the lines of `-v` would tear it."""
        return self.verbosity <= 0 and self._out.isatty() and self._environ.get("TERM") not in _UNFIT_TERMINALS

    def watch(self, look: Callable[[Wait], Iterator[Frame]], render: Callable[[Frame, int, int | None], Rows]) -> None:
        """Draw frames over the whole terminal until they end or `q` is pressed; the last one stays as a result."""
        draw_frames(self._out, self._stdin, look, render, self._environ, lambda frame: self.view(frame, render))

    def view(self, frame: Frame, render: Callable[[Frame, int, int | None], Rows]) -> None:
        """Write one frame as a result, as wide as the terminal is, and 80 columns elsewhere."""
        self.result("\n".join(text for text, _ in render(frame, find_width(self._environ, self._out), None)))

    def debug(self, text: str) -> None:
        """Say what only someone who looks for a fault wants to know."""
        self._say(escape_control(text), at_least=1)

    def info(self, text: str) -> None:
        """Say what is going on."""
        self._say(escape_control(text), at_least=0)

    def success(self, text: str) -> None:
        """Say what went well."""
        self._say(self._paint("32", escape_control(text)), at_least=0)

    def warn(self, text: str) -> None:
        """Say what may go wrong."""
        self._say(f"{self._paint('1;33', 'warning:')} {escape_control(text)}", at_least=-1)

    def error(self, error: StackError, *, detail_path: Path | None = None) -> None:
        """Say what happened and what to do; of a long detail the end, and all of it in `detail_path`."""
        said = f"{self._paint('1;31', 'error:')} {escape_control(error.message)}".replace("\n", "\n       ")
        if error.hint:
            said += f"\n\n{self._paint('1', 'hint:')} " + escape_control(error.hint).replace("\n", "\n      ")
        lines = escape_control(error.detail or "").strip("\n").split("\n")
        if any(lines):
            said += "\n\n" + "\n".join(f"  {line}".rstrip() for line in lines[-DETAIL_LINES:])
        if len(lines) > DETAIL_LINES:
            said += f"\n\nThese are the last {DETAIL_LINES} of {len(lines)} lines"
            if detail_path is not None:
                said += f"; {_save_detail(detail_path, error.detail or '')}"
        self._say(said, at_least=self.verbosity)

    def confirm(self, question: str, *, default: bool = False) -> bool:
        """Ask a question; where nobody can answer, give the default."""
        if self._stdin is None or not self._stdin.isatty():
            return default
        with self._cleared():
            _write(self._err, f"{escape_control(question)} {'[Y/n]' if default else '[y/N]'} ")
            answer = self._stdin.readline()
        if not answer:
            return False
        return default if not answer.strip() else answer.strip().lower() in ("y", "yes")

    def report(self, event: ProgressEvent) -> None:
        """Take a report of a long step, from any thread."""
        with self._lock:
            line = self._lines.note(event, self._clock())
            if line is not None and (self._bars is None or event.state != "running"):
                self._say(line, at_least=0)

    @contextmanager
    def live(self) -> Iterator[None]:
        """Draw what runs while the block lasts; off a terminal, say every 10 s that it still runs."""
        if self._is_live or self.verbosity < 0:
            yield
            return
        self._is_live = True
        stop = threading.Event()
        beat = threading.Thread(target=self._beat_until, args=(stop,), name="heartbeat", daemon=True)
        if self._draws:
            self._bars = self._build_live()
            self._bars.start(refresh=True)
        else:
            beat.start()
        try:
            yield
        finally:
            stop.set()
            if not self._draws:
                beat.join()
            with self._lock:
                bars, self._bars = self._bars, None
                if bars is not None:
                    bars.stop()
                self._is_live = False
                self._lines.forget()

    def beat(self) -> None:
        """Say what is still running, if nothing has been said for some seconds."""
        with self._lock:
            now = self._clock()
            line = self._lines.heartbeat(now) if now - self._said_at >= SILENCE_SECONDS else None
            if line is not None:
                self._say(line, at_least=0)

    def _beat_until(self, stop: threading.Event) -> None:
        while not stop.wait(0.5):
            try:
                self.beat()
            except (OSError, ValueError):  # standard error is gone; whoever writes next will be told
                return

    def _build_live(self) -> Any:
        from rich.console import Console as RichConsole
        from rich.live import Live

        console = RichConsole(file=self._err, force_terminal=True, no_color=not self._colours, _environ=self._environ)
        return Live(
            get_renderable=lambda: self._lines.build_bars(self._clock(), console.width),
            console=console, refresh_per_second=4, transient=True,
            redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip

    def _say(self, text: str, *, at_least: int) -> None:
        if self.verbosity < at_least:
            return
        with self._cleared():
            _write(self._err, f"{text}\n")
            self._said_at = self._clock()

    @contextmanager
    def _cleared(self) -> Iterator[None]:
        """Take the drawing off the terminal while something else is written."""
        with self._lock:
            bars = self._bars
            if bars is not None:
                bars.stop()
            try:
                yield
            finally:
                if bars is not None:
                    # A new one: the old would wipe as many lines as it had drawn, what was just written too.
                    self._bars = self._build_live()
                    self._bars.start(refresh=True)

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colours else text


def _write_result(stream: TextIO, text: str) -> None:
    try:
        _write(stream, text)
    except BrokenPipeError:
        raise  # whoever read it has seen enough
    except OSError as err:
        raise build_output_error(err) from err


def build_output_error(err: OSError) -> StackError:
    """Give the error of a result that nobody could take."""
    return StackError(
        f"the result cannot be written to standard output: {err.strerror}",
        hint="see where it goes to, such as a file on a full disk (`df -h`)",
    )


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        stream.write(text.replace("…", "...").encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def _save_detail(path: Path, text: str) -> str:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as err:
        return f"{path} could not take all of them: {err.strerror}"
    return f"all of them: {path}"
