"""PromQL as it is written, before it is parsed: where its strings and comments are."""

from __future__ import annotations

import re
from collections.abc import Iterator

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|`[^`]*`|(#[^\n]*)', re.DOTALL)
_RANGE = re.compile(r"\[(?!\[)([^\[\]]*)\]")


def find_strings(text: str) -> Iterator[tuple[int, int]]:
    """Give start and end of every quoted text, the quotes in it."""
    return (match.span() for match in _STRING.finditer(text) if match[1] is None)


def find_ranges(text: str) -> list[str]:
    """Give what stands in every `[…]`, in their order; what is in a string or a comment is none."""
    blank = _STRING.sub(lambda match: " " * len(match[0]), text)
    return [match[1].strip() for match in _RANGE.finditer(blank.replace("[[", "((").replace("]]", "))"))]
