"""What the console prints, as text: sizes, durations, tables, and the few lines that progress is worth."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from stack.progress import ProgressEvent

if TYPE_CHECKING:
    from rich.table import Table

LINE_INTERVAL_SECONDS = 10.0
_RATE_WINDOW_SECONDS = 20.0
_RATE_MIN_SECONDS = 1.0
"""Less than that tells nothing: the first small file of many would promise hours."""
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


def _one_line(text: str) -> str:
    return escape_control(text).replace("\n", "\\n").replace("\t", " ")


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
        percent = 100 if done >= total else min(round(done / total * 100), 99)
        said = [f"{amount.removesuffix(whole[-3:])} of {whole}", f"{percent} %"]
        samples = self._samples
        if samples and now - samples[0][0] >= _RATE_MIN_SECONDS and done > samples[0][1]:
            rate = (done - samples[0][1]) / (now - samples[0][0])
            said.append(f"{format_bytes(rate)}/s")
            if (total - done) / rate >= 1:
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
            ", ".join(filter(None, [_one_line(name), task.describe(now), format_duration(now - task.started_at)]))
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
                bar = ProgressBar(total=event.total_bytes, completed=event.completed_bytes or 0, width=bar_width)
            said = Text(task.describe(now, amounts_first=True))
            table.add_row(Text(name), format_duration(now - task.started_at), bar, said)
        return table
