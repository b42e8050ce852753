"""Values that were written as text, in a variable or after a flag (pure)."""

from __future__ import annotations

import json
import re
from typing import Any

from stack.config.keys import Key

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})
_WHOLE = re.compile(r"[+-]?\d{1,18}")
_DECIMAL = re.compile(r"[+-]?\d{1,18}\.\d{1,18}")


def parse_arg_text(text: str) -> Any:
    """Give the value of an engine arg written as text: true, false, a number, JSON, else the text."""
    if text in {"true", "false"}:
        return text == "true"
    if _WHOLE.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return float(text)
    if text[:1] in {"{", "["}:
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text


def parse_text(key: Key, text: str) -> Any:
    """Give the value of a key that was written as text, in a variable or after a flag.

    Raises:
        ValueError: The key is a list and the text is no JSON list.
    """
    if bool in key.types and text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    if list in key.types and (text.startswith("[") or key.types == (list,)):
        return _parse_list(text)
    if list in key.types and "," in text:
        return [part.strip() for part in text.split(",")]
    if (int in key.types or float in key.types) and _WHOLE.fullmatch(text):
        return int(text)
    if float in key.types and _DECIMAL.fullmatch(text):
        return float(text)
    return text


def _parse_list(text: str) -> list[Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, list):
        raise ValueError('must be a JSON list such as \'["0", "1"]\'')
    return value
