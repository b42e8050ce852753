"""Text in lines of a width. Pure."""

from __future__ import annotations

import re
import textwrap

_QUOTED = re.compile(r"`[^`]*`")
_JOINT = "\x00"
_JOINED_CHARS = 40


def wrap_paragraph(text: str, width: int, start: str = "", indent: str = "") -> list[str]:
    """Break text at blanks; a short command in backquotes stays whole, and a word that is too long does too.

    Args:
        text: What to break; its own line feeds stay.
        width: Characters that a line may have.
        start: What the first line begins with.
        indent: What every other line begins with.
    """
    wrapper = textwrap.TextWrapper(width, break_long_words=False, break_on_hyphens=False)
    lines: list[str] = []
    for part in text.split("\n"):
        wrapper.initial_indent, wrapper.subsequent_indent = indent if lines else start, indent
        lines += [line.replace(_JOINT, " ") for line in wrapper.wrap(_QUOTED.sub(_join, part))]
    return lines or [start.rstrip()]


def _join(quoted: re.Match[str]) -> str:
    return quoted[0].replace(" ", _JOINT) if len(quoted[0]) <= _JOINED_CHARS else quoted[0]
