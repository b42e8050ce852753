"""Key figures of a report whose shape is not known here: a replay's, an upgrade's. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_MOST_FIGURES = 40
_MOST_ITEMS = 8
# The page tells them elsewhere, or nobody wants to know.
_KNOWN = ("schema version", "passed", "is passed", "project", "started at")
LEFT_OUT = "(left out)"
# What requests and answers keep their texts in, and secrets their values. Reports should have none of them.
_PRIVATE = {
    "prompt", "prompts", "messages", "content", "text", "texts", "body", "input", "output", "reasoning",
    "api_key", "authorization", "password", "secret",
}  # fmt: skip


def leave_out_texts(value: Any) -> Any:
    """Give a report without the values of fields that hold texts of requests or answers, or secrets."""
    if isinstance(value, Mapping):
        return {
            str(name): LEFT_OUT if str(name).lower() in _PRIVATE and not _is_plain(item) else leave_out_texts(item)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [leave_out_texts(item) for item in value]
    return value


def _is_plain(value: Any) -> bool:
    # `prompts` of a bench's load is how many there were.
    return value is None or isinstance(value, int | float)


def build_figures(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Give names and values: what stands at the top of a report or one level below it."""
    figures = [(name, text) for name, text in _walk(report, depth=2) if name not in _KNOWN]
    return figures[:_MOST_FIGURES]


def _walk(values: Mapping[str, Any], depth: int, prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        path = f"{prefix}{name}".replace("_", " ")
        if isinstance(value, Mapping):
            if depth > 1:
                yield from _walk(value, depth - 1, f"{path}: ")
        elif isinstance(value, list):
            if value and not any(isinstance(item, Mapping | list) for item in value):
                more = f", and {len(value) - _MOST_ITEMS} more" if len(value) > _MOST_ITEMS else ""
                yield path, ", ".join(_say(item) for item in value[:_MOST_ITEMS]) + more
            elif value:
                yield path, f"{len(value)} in the details"
        elif value is not None:
            yield path, _say(value)


def _say(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
