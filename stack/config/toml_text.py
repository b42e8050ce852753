"""Values and key paths as TOML text (pure). The standard library reads TOML and does not write it.

Source: TOML 1.0.0 (basic strings must escape control characters and DEL; `inf` and `nan` exist).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def render_key(name: str) -> str:
    """Give one part of a key, quoted where TOML asks for it."""
    return name if _BARE.fullmatch(name) else _render_text(name)


def show_path(path: Sequence[str]) -> str:
    """Give a key from the top, as it is written in messages (`engine.mounts."/templates"`)."""
    return ".".join(render_key(name) for name in path)


def render_value(value: Any) -> str:
    """Give a value as TOML on one line.

    Raises:
        TypeError: TOML has no such value (None among them).
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | PurePath):
        return _render_text(str(value))
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        if not value:
            return "{}"
        return "{ " + ", ".join(f"{render_key(str(k))} = {render_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(render_value(item) for item in value) + "]"
    raise TypeError(f"TOML has no value for {value!r}")


def _render_text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
