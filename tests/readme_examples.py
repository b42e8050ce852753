"""The examples of a README's section: which commands it shows, and whether what they print is what it promises.

A fence is one of these, and every fence of a section counts:

- `sh`: each line is a command; it must work;
- without a language: `$ ` begins a command, and what follows is what it prints, standard error included; it must work,
  unless that begins with `error:`;
- `toml`: a part of stack.toml, which must be valid.

Placeholders in what is printed:

- a line that is `…` alone stands for any number of lines, also none; what comes after the last line is not compared;
- `…` inside a line stands for anything;
- of a digest, a port of 127.0.0.1, an amount with its unit, a date and a time any other one will do;
- `/home/me` stands for any folder.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

GAP = "…"
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_UNITS = "B|kB|MB|GB|KiB|MiB|GiB|bytes|s|ms|min|files|images"
_PLACEHOLDERS = (
    (re.escape(GAP), ".*"),
    (r"sha256:[0-9a-f]+", "sha256:[0-9a-f]+"),
    (r"127\\\.0\\\.0\\\.1:\d+", r"127\.0\.0\.1:\\d+"),
    (r"\d{4}\\-\d\d\\-\d\d", r"\\d{4}-\\d\\d-\\d\\d"),
    (r"\d\d:\d\d:\d\d", r"\\d\\d:\\d\\d:\\d\\d"),
    (rf"(?<![\w.:])\d+(?:\\\.\d+)?(?=\\ (?:{_UNITS})\b)", r"[\\d.]+"),
    (rf"(?<=\\ )(?:{_UNITS})(?=\b)", rf"(?:{_UNITS})"),
    (r"/home/me", r"\\S*"),
)


@dataclass(frozen=True)
class Example:
    """One command, or one piece of configuration, of a README.

    Attributes:
        kind: What the fence holds.
        text: The command, or the TOML.
        expected: The lines that the command prints; None where the README does not say.
    """

    kind: Literal["command", "toml"]
    text: str
    expected: tuple[str, ...] | None = None

    @property
    def is_error(self) -> bool:
        """Whether the command is to fail."""
        first = next((line for line in self.expected or () if line != GAP), "")
        return first.startswith("error:")


def read_section(text: str, heading: str) -> str:
    """Give what stands below a heading, down to the next one of any level.

    Raises:
        LookupError: There is no such heading.
    """
    found = re.search(rf"^#+ {re.escape(heading)}$\n(.*?)(?=^#+ |\Z)", _hide_comments(text), re.DOTALL | re.MULTILINE)
    if found is None:
        raise LookupError(f"the README has no section `{heading}`")
    return text[found.start(1) : found.end(1)]


def _hide_comments(text: str) -> str:
    """Blank what stands in fences: a comment of a shell looks like a heading."""
    return _FENCE.sub(lambda fence: re.sub(r"[^\n]", " ", fence[0]), text)


def read_examples(text: str, heading: str) -> list[Example]:
    """Give the examples of a section in their order.

    Raises:
        LookupError: The section is missing, shows no command, or has a fence that is none of the known ones.
    """
    found: list[Example] = []
    for language, body in _FENCE.findall(read_section(text, heading)):
        found += _read_fence(language, body, heading)
    if not any(example.kind == "command" for example in found):
        raise LookupError(f"the section `{heading}` shows no command")
    return found


def _read_fence(language: str, body: str, heading: str) -> list[Example]:
    lines = body.splitlines()
    if language == "toml":
        return [Example("toml", body)]
    if language == "sh":
        return [Example("command", line) for line in lines if line.strip() and not line.startswith("#")]
    if language or not lines or not lines[0].startswith("$ "):
        raise LookupError(f"a fence of `{heading}` is neither commands nor configuration: {lines[:1]}")
    found: list[Example] = []
    for line in lines:
        if line.startswith("$ "):
            found.append(Example("command", line.removeprefix("$ "), ()))
        else:
            last = found.pop()
            found.append(Example("command", last.text, (*(last.expected or ()), line)))
    return found


def find_difference(expected: Sequence[str], printed: Sequence[str]) -> str | None:
    """Tell where what was printed is not what the README shows; None where it is."""
    position, is_gap, chunk_begin = 0, False, 0
    chunks: list[tuple[bool, list[str]]] = [(False, [])]
    for line in expected:
        if line == GAP:
            chunks.append((True, []))
        else:
            chunks[-1][1].append(line)
    for is_gap, chunk in chunks:
        starts = range(position, len(printed) - len(chunk) + 1) if is_gap else [position]
        chunk_begin = next((start for start in starts if _matches(chunk, printed[start : start + len(chunk)])), -1)
        if chunk_begin < 0:
            where = "after line" if is_gap else "at line"
            wanted, seen = "\n".join(chunk), "\n".join(printed[position:])
            return f"{where} {position + 1} the README shows\n{wanted}\nand what came was\n{seen}"
        position = chunk_begin + len(chunk)
    return None


def _matches(chunk: Sequence[str], printed: Sequence[str]) -> bool:
    return len(chunk) == len(printed) and all(
        re.fullmatch(build_pattern(line), seen.rstrip()) for line, seen in zip(chunk, printed, strict=True)
    )


def build_pattern(line: str) -> str:
    """Give the pattern of a line with placeholders."""
    pattern = re.escape(line.rstrip())
    for placeholder, anything in _PLACEHOLDERS:
        pattern = re.sub(placeholder, anything, pattern)
    return pattern
