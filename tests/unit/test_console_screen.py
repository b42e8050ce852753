from __future__ import annotations

import io
import os
import re
import termios
from collections.abc import Iterator

import pytest

from stack.console_screen import Keys, draw_frames, find_width

ENVIRON = {"TERM": "xterm-256color", "COLUMNS": "30", "LINES": "4"}
OTHER_SCREEN, FIRST_SCREEN, SHOWN_CURSOR, HIDDEN_CURSOR = "\x1b[?1049h", "\x1b[?1049l", "\x1b[?25h", "\x1b[?25l"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def keyboard() -> Iterator[tuple[int, io.TextIOWrapper]]:
    """A terminal's two ends: where somebody types, and what the program reads."""
    typed, read = os.openpty()
    with os.fdopen(read) as stdin:
        yield typed, stdin
    os.close(typed)


def draw(frames, out=None, environ=ENVIRON):
    """Draw frames; give what was written, the sizes that were asked for, and the last frame."""
    out, sizes, last = out or Terminal(), [], []

    def render(frame, width, height):
        sizes.append((width, height))
        return [(f"frame {frame}", "bad"), ("a row that is much longer than thirty columns", "")]

    try:
        draw_frames(out, None, lambda wait: iter(frames), render, environ, last.append)
    except KeyboardInterrupt:
        last.append("interrupted")
    return out.getvalue(), sizes, last


def test_frames_are_drawn_on_the_other_screen_and_the_first_one_comes_back():
    written, sizes, last = draw([1])
    assert written.index(OTHER_SCREEN) < written.index("frame 1") < written.index(FIRST_SCREEN)
    assert written.rindex(HIDDEN_CURSOR) < written.rindex(SHOWN_CURSOR)
    assert set(sizes) == {(30, 4)}
    assert last == [1]


def test_a_row_never_wraps_and_the_view_fills_the_screen():
    written, _, _ = draw([1])
    drawn = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", written).split("\n")[:4]
    assert drawn == ["frame 1".ljust(30), "a row that is much longer than", " " * 30, " " * 30]


def test_an_interrupt_gives_the_screen_back_and_the_last_frame_stays():
    def look():
        yield 1
        yield 2
        raise KeyboardInterrupt

    written, _, last = draw(look())
    assert written.rstrip().endswith(FIRST_SCREEN)
    assert last == [2, "interrupted"]


def test_an_error_before_the_first_frame_leaves_the_screen_alone():
    def look():
        raise ValueError("no engine")
        yield 1

    out = Terminal()
    with pytest.raises(ValueError, match="no engine"):
        draw(look(), out)
    assert out.getvalue() == ""


def test_without_colours_nothing_is_coloured():
    assert "\x1b[1;31m" in draw([1])[0]
    assert not re.search(r"\x1b\[(?:\d+;)*3\dm", draw([1], environ={**ENVIRON, "NO_COLOR": "1"})[0])


def test_what_is_shown_cannot_steer_the_terminal():
    out = Terminal()
    draw_frames(
        out, None, lambda wait: iter([1]), lambda *frame: [("a\x1b[2Jb", "")], ENVIRON, lambda frame: None
    )  # fmt: skip
    assert "\x1b[2J" not in out.getvalue()
    assert "a\\x1b[2Jb" in out.getvalue()


def test_keys_are_heard_without_being_shown_and_given_back(keyboard):
    typed, stdin = keyboard
    keys, before = Keys(stdin), termios.tcgetattr(stdin)
    keys.take()
    assert not termios.tcgetattr(stdin)[3] & (termios.ECHO | termios.ICANON)
    assert termios.tcgetattr(stdin)[3] & termios.ISIG
    keys.give_back()
    assert termios.tcgetattr(stdin) == before


def test_while_frames_are_drawn_keys_are_heard_and_then_given_back(keyboard):
    typed, stdin = keyboard
    before, meanwhile = termios.tcgetattr(stdin), []

    def look(wait):
        yield 1
        meanwhile.append(termios.tcgetattr(stdin)[3] & termios.ECHO)
        os.write(typed, b"q")
        meanwhile.append(wait(5))

    draw_frames(Terminal(), stdin, look, lambda *frame: [("a", "")], ENVIRON, lambda frame: None)
    assert meanwhile == [0, True]
    assert termios.tcgetattr(stdin) == before


@pytest.mark.parametrize(("pressed", "is_left"), [(b"q", True), (b"Q", True), (b"xy", False), (b"\xff", False)])
def test_q_is_enough(keyboard, pressed, is_left):
    typed, stdin = keyboard
    keys = Keys(stdin)
    keys.take()
    os.write(typed, pressed)
    assert keys.wait(0.05) is is_left
    keys.give_back()


def test_where_nobody_can_press_a_key_it_only_waits(tmp_path):
    assert Keys(None).wait(0.0) is False
    with (tmp_path / "file").open("w+") as stdin:
        keys = Keys(stdin)
        keys.take()
        keys.give_back()
        assert keys.wait(0.0) is False


@pytest.mark.parametrize(
    ("environ", "width"), [({"COLUMNS": "120"}, 120), ({"COLUMNS": "0"}, 80), ({"COLUMNS": "wide"}, 80), ({}, 80)]
)
def test_the_width_is_the_one_that_is_said_and_80_elsewhere(environ, width):
    assert find_width(environ, io.StringIO()) == width


def test_the_width_of_a_terminal_is_its_own(keyboard):
    typed, stdin = keyboard
    termios.tcsetwinsize(typed, (40, 101))
    assert find_width({}, stdin) == 101
