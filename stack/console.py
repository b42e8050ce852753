"""The only printer: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from stack.errors import StackError
from stack.progress import ProgressEvent

if TYPE_CHECKING:
    from rich.table import Table

DETAIL_LINES = 20
LINE_INTERVAL_SECONDS = 10.0
SILENCE_SECONDS = 9.0
"""A little less than the ten that may pass in silence, for the heartbeat looks only now and then."""
_RATE_WINDOW_SECONDS = 20.0
_HEARTBEAT_TASKS = 3

_COLOUR_CODES = re.compile(r"\x1b\[[0-9;]*m")
# Control characters (not tab and line feed), line separators, reordering marks, bytes that were no text.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def format_bytes(size_bytes: float) -> str:
    """Give a size in decimal units: `45.2 MB` is 45.2 million bytes."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= factor * 0.99995:
            return f"{size_bytes / factor:.1f} {unit}"
    return f"{size_bytes:.0f} B"


def format_duration(seconds: float) -> str:
    """Give a duration as people say it: `3.2 s`, `45 s`, `1 min 20 s`, `2 h 5 min`."""
    if round(seconds, 1) < 10:
        return f"{max(seconds, 0):.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, rest_minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {rest_minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def escape_control(text: str) -> str:
    r"""Make foreign text harmless to a terminal: drop colours, show other control characters as `\x1b`."""
    plain = _COLOUR_CODES.sub("", text.replace("\r\n", "\n"))
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), plain)


def render_table(rows: Iterable[Sequence[object]], header: Sequence[str]) -> str:
    """Render rows under a header, in columns two blanks apart; a cell is always one line."""
    cells = [[_one_line(str(cell)) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    padded = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in cells)
    return "\n".join(padded)


class _Task:
    """A running step: what it last said, and how fast its bytes move."""

    def __init__(self, event: ProgressEvent, now: float) -> None:
        self.started_at = now
        self.told_at = now
        self.event = event
        self._samples: tuple[tuple[float, int], ...] = ()

    def update(self, event: ProgressEvent, now: float) -> None:
        """Take a new report; each value is replaced as a whole, for the drawing thread takes no lock."""
        done, samples = event.completed_bytes, self._samples
        self.event = event
        if done is None:
            return
        if samples and done < samples[-1][1]:
            samples = ()  # tried again from further back
        if not samples or now - samples[-1][0] >= 0.5:
            recent = [sample for sample in samples if now - sample[0] <= _RATE_WINDOW_SECONDS]
            self._samples = (*(recent or samples[-1:]), (now, done))

    def describe(self, now: float, *, amounts_first: bool = False) -> str:
        """What it does and how far it is: `downloading, 45.2 of 90.4 MB, 50 %, 3.0 MB/s, 15 s left`."""
        event = self.event
        text, amounts = [_one_line(event.text)], self._describe_bytes(event, now)
        return ", ".join(filter(None, amounts + text if amounts_first else text + amounts))

    def _describe_bytes(self, event: ProgressEvent, now: float) -> list[str]:
        done, total = event.completed_bytes, event.total_bytes
        if done is None:
            return []
        if not total:
            return [format_bytes(done)]
        amount, whole = format_bytes(done), format_bytes(total)
        said = [f"{amount.removesuffix(whole[-3:])} of {whole}", f"{min(done / total, 1) * 100:.0f} %"]
        samples = self._samples
        if samples and now > samples[0][0] and done > samples[0][1]:
            rate = (done - samples[0][1]) / (now - samples[0][0])
            said.append(f"{format_bytes(rate)}/s")
            if done < total:
                said.append(f"{format_duration((total - done) / rate)} left")
        return said


class ProgressLines:
    """Turns progress events into the few lines worth printing; it prints nothing itself."""

    def __init__(self) -> None:
        self._tasks: dict[str, _Task] = {}
        self._ended: dict[str, ProgressEvent] = {}

    def note(self, event: ProgressEvent, now: float) -> str | None:
        """Take an event; give a line when its text or state is new, or its bytes were untold for 10 s."""
        if event.state != "running":
            return self._end(event, now)
        task = self._tasks.get(event.task)
        is_new = task is None or task.event.text != event.text
        if task is None:
            task = self._tasks[event.task] = _Task(event, now)
            self._ended.pop(event.task, None)
        task.update(event, now)
        moves = event.completed_bytes is not None and now - task.told_at >= LINE_INTERVAL_SECONDS
        if not (is_new or moves):
            return None
        task.told_at = now
        return f"{_one_line(event.task)}: {task.describe(now) or 'started'}"

    def _end(self, event: ProgressEvent, now: float) -> str | None:
        if self._ended.get(event.task) == event:
            return None
        self._ended[event.task] = event
        task = self._tasks.pop(event.task, None)
        said = f"{_one_line(event.task)}: {event.state}"
        if task is not None and event.state != "skipped":
            preposition = "in" if event.state == "done" else "after"
            said += f" {preposition} {format_duration(now - task.started_at)}"
        if event.completed_bytes:
            said += f", {format_bytes(event.completed_bytes)}"
        return f"{said}: {_one_line(event.text)}" if event.text else said

    def heartbeat(self, now: float) -> str | None:
        """Say what is still running and since when."""
        tasks = list(self._tasks.items())
        if not tasks:
            return None
        said = [
            ", ".join(
                filter(None, [_one_line(name), task.describe(now), format_duration(now - task.started_at)])
            )
            for name, task in tasks[:_HEARTBEAT_TASKS]
        ]
        more = len(tasks) - len(said)
        return "still: " + "; ".join(said) + (f"; and {more} more" if more else "")

    def forget(self) -> None:
        """Forget all tasks, as at the end of a command."""
        self._tasks.clear()
        self._ended.clear()

    def build_bars(self, now: float, width: int) -> Table:
        """Build the drawing of what runs: a line per task, with a bar where its bytes are known.

        Units: width in characters.
        """
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        tasks = [(_one_line(name), task) for name, task in list(self._tasks.items())]
        longest = max((len(name) for name, _ in tasks), default=0)
        bar_width = 20 if width >= 110 else 8 if width >= 80 else 0
        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(no_wrap=True, overflow="ellipsis", width=min(longest, width // 3))
        table.add_column(no_wrap=True, justify="right")
        table.add_column(no_wrap=True, width=bar_width)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        for name, task in tasks:
            event, bar = task.event, ""
            if event.total_bytes and bar_width:
                bar = ProgressBar(
                    total=event.total_bytes, completed=event.completed_bytes or 0, width=bar_width
                )
            said = Text(task.describe(now, amounts_first=True))
            table.add_row(Text(name), format_duration(now - task.started_at), bar, said)
        return table


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
        self._draws = terminal and environ.get("TERM") not in ("dumb", "unknown")
        self._colours = self._draws and not environ.get("NO_COLOR")
        self._lock = threading.RLock()
        self._lines = ProgressLines()
        self._bars: Any = None
        self._is_live = False
        self._said_at = clock()

    def result(self, text: str, *, end: str = "\n") -> None:
        """Write a result, at once; control characters are escaped."""
        with self._cleared():
            _write(self._out, escape_control(text) + end)

    def json(self, document: Any) -> None:
        """Write one JSON document, keys in their order; pure ASCII, so that no terminal or pipe alters it."""
        with self._cleared():
            _write(self._out, json.dumps(document, indent=2, allow_nan=False) + "\n")

    def table(self, rows: Iterable[Sequence[object]], header: Sequence[str]) -> None:
        """Write a table as a result."""
        self.result(render_table(rows, header))

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

        console = RichConsole(
            file=self._err, force_terminal=True, no_color=not self._colours, _environ=self._environ
        )
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


def _one_line(text: str) -> str:
    return escape_control(text).replace("\n", "\\n").replace("\t", " ")


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def _save_detail(path: Path, text: str) -> str:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as err:
        return f"{path} could not take all of them: {err.strerror}"
    return f"all of them: {path}"
