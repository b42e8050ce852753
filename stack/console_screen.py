"""A view over the whole terminal that is drawn again and again, and what its keys say. Only the console uses it."""

from __future__ import annotations

import os
import select
import signal
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO, TypeVar

from stack.console_lines import escape_control

Rows = Sequence[tuple[str, str]]
"""Lines of text, each with how it is meant."""
Wait = Callable[[float], bool]
"""Waits for seconds; True when whoever watches has seen enough."""
Frame = TypeVar("Frame")

_STYLES = {"title": "bold reverse", "quiet": "dim", "good": "green", "warn": "yellow", "bad": "bold red"}
_REDRAWS_PER_SECOND = 4
_WIDTH_ELSEWHERE = 80
_LEAVE = frozenset("qQ")


def draw_frames(
    out: TextIO,
    stdin: TextIO | None,
    look: Callable[[Wait], Iterator[Frame]],
    render: Callable[[Frame, int, int], Rows],
    environ: Mapping[str, str],
    take_last: Callable[[Frame], None],
) -> None:
    """Draw frames on the terminal's other screen until they end or `q` is pressed.

    However it ends, the first screen comes back as it was, with its keys. The screen is only taken once there is a
    frame, so that an error before it is seen.

    Args:
        out: The terminal.
        stdin: Where keys come from, if anywhere.
        look: Gives the frames; it is given what waits between two of them.
        render: Gives a frame's rows for a width and a height; asked again some times a second, so that a terminal may
            change its size.
        environ: Read for `NO_COLOR`, and for the terminal's kind and size.
        take_last: Gets the last frame when the first screen is back, also after an interrupt.
    """
    keys = Keys(stdin)
    frames = look(keys.wait)
    shown = next(frames)
    live = _build_live(out, lambda width, height: render(shown, width, height), environ)
    try:
        with _stopped_well(live, keys):
            for frame in frames:
                shown = frame
    finally:
        take_last(shown)


class Keys:
    """What is typed while a view is drawn, which is not shown.

    Args:
        stdin: Where keys come from; None, or no terminal: nothing is ever pressed.
    """

    def __init__(self, stdin: TextIO | None) -> None:
        self._descriptor = stdin.fileno() if stdin is not None and stdin.isatty() else None
        self._before: Any = None

    def take(self) -> None:
        """Hear each key at once, without showing it; Ctrl-C and Ctrl-Z stay what they are."""
        if self._descriptor is not None:
            self._before = termios.tcgetattr(self._descriptor)
            changed = termios.tcgetattr(self._descriptor)
            changed[3] &= ~(termios.ICANON | termios.ECHO)
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, changed)

    def give_back(self) -> None:
        """Leave the keys as they were, and forget what was typed."""
        if self._descriptor is not None and self._before is not None:
            termios.tcsetattr(self._descriptor, termios.TCSAFLUSH, self._before)

    def wait(self, seconds: float) -> bool:
        """Wait, and tell whether `q` was pressed meanwhile."""
        if self._descriptor is None:
            time.sleep(seconds)
            return False
        ends = time.monotonic() + seconds
        while select.select([self._descriptor], [], [], max(0.0, ends - time.monotonic()))[0]:
            pressed = os.read(self._descriptor, 64)
            if not pressed or _LEAVE & set(pressed.decode(errors="replace")):
                return True
        return False


@contextmanager
def _stopped_well(live: Any, keys: Keys) -> Iterator[None]:
    """Draw while the block lasts; a stop (Ctrl-Z) gives the terminal back until the process goes on."""

    def begin() -> None:
        keys.take()
        live.start(refresh=True)

    def end() -> None:
        live.stop()
        keys.give_back()

    def stop(signum: int, frame: Any) -> None:
        end()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, stop)
        begin()

    before = signal.signal(signal.SIGTSTP, stop)
    try:
        begin()
        yield
    finally:
        signal.signal(signal.SIGTSTP, before)
        end()


def _build_live(out: TextIO, render: Callable[[int, int], Rows], environ: Mapping[str, str]) -> Any:
    from rich.console import Console
    from rich.live import Live

    colours = not environ.get("NO_COLOR")
    console = Console(file=out, force_terminal=True, no_color=not colours, _environ=dict(environ))
    return Live(
        get_renderable=lambda: _build_text(render(console.width, console.height)),
        console=console, screen=True, refresh_per_second=_REDRAWS_PER_SECOND,
        redirect_stdout=False, redirect_stderr=False,
    )  # fmt: skip


def find_width(environ: Mapping[str, str], out: TextIO) -> int:
    """Give how many characters a line of output may have: the terminal's, 80 where it goes elsewhere."""
    if environ.get("COLUMNS", "").isdecimal():
        return int(environ["COLUMNS"]) or _WIDTH_ELSEWHERE
    if not out.isatty():
        return _WIDTH_ELSEWHERE
    try:
        return os.get_terminal_size(out.fileno()).columns or _WIDTH_ELSEWHERE
    except OSError:
        return _WIDTH_ELSEWHERE


def _build_text(rows: Rows) -> Any:
    from rich.text import Text

    text = Text(no_wrap=True, overflow="crop", end="")
    for place, (said, tone) in enumerate(rows):
        said = escape_control(said)
        text.append(said if place == 0 else f"\n{said}", style=_STYLES.get(tone))
    return text
