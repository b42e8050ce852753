"""pydantic's errors in the words of this tool (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from stack.config.schema_smoke import Canary
from stack.config.values import show_value

_EXPECTED = {
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "string_type": "must be text",
    "list_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
}
_CHOICE_SYNONYMS = {"gpu": "cuda", "nvidia": "cuda", "build": "packages", "pull": "registry"}
_LIMITS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def show_location(location: Sequence[str | int]) -> str:
    """Give the place of a pydantic error as a key (`smoke.canaries[0].prompt`)."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".")


def translate_error(error: Mapping[str, Any]) -> str:
    """Give the message for one of pydantic's errors.

    Source: the error types of pydantic-core 2 (https://docs.pydantic.dev/latest/errors/validation_errors/).
    """
    kind, value, context = error["type"], error.get("input"), error.get("ctx") or {}
    if kind == "value_error":
        return str(context["error"])
    if error["loc"][-1:] == ("api-key",):
        # Whoever writes a key here must not see it in a log.
        return "must be true or false; the key is generated and kept in a file"
    if kind in _EXPECTED:
        return f"{_EXPECTED[kind]}, not {show_value(value)}{_hint_number(kind, value)}"
    if kind in _LIMITS:
        name, words = _LIMITS[kind]
        return f"must be {words} {context[name]:g}, not {show_value(value)}"
    if kind == "literal_error":
        return _describe_choice(str(context["expected"]), value)
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return _describe_extra(error["loc"])
    if kind == "string_too_short":
        return "must not be empty" if context["min_length"] == 1 else _describe_length(context)
    if kind == "too_short":
        return f"must have at least {context['min_length']} item"
    message = str(error["msg"])
    return message[:1].lower() + message[1:]


def _describe_length(context: Mapping[str, Any]) -> str:
    return f"must have at least {context['min_length']} characters"


def _hint_number(kind: str, value: Any) -> str:
    if kind == "int_type" and isinstance(value, str) and re.fullmatch(r"\d+", value):
        return f"; write {value} without quotes"
    if kind == "string_type" and isinstance(value, int | float) and not isinstance(value, bool):
        return f'; write "{value}"'
    return ""


def _describe_choice(expected: str, value: Any) -> str:
    choices = re.findall(r"'([^']*)'", expected)
    meant = _CHOICE_SYNONYMS.get(value.lower(), value.lower()) if isinstance(value, str) else ""
    near = get_close_matches(meant, choices, n=1, cutoff=0.6)
    hint = f"; the nearest is `{near[0]}`" if near else ""
    shown = ", ".join(f"`{choice}`" for choice in choices[:-1])
    return f"must be {shown} or `{choices[-1]}`, not {show_value(value)}{hint}"


def _describe_extra(location: Sequence[str | int]) -> str:
    # Unknown keys of stack.toml are found before pydantic sees them, except those of tables inside a list.
    if location[:2] != ("smoke", "canaries"):
        return "unknown key"
    name = str(location[-1])
    near = get_close_matches(name.lower(), list(Canary.model_fields), n=1, cutoff=0.5)
    hint = f"the nearest is `{near[0]}`" if near else f"a canary has {', '.join(Canary.model_fields)}"
    return f"unknown key; {hint}"
