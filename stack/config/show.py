"""A loaded configuration as TOML, each value with where it came from (pure)."""

from __future__ import annotations

from pydantic import BaseModel

from stack.config.keys import build_keys
from stack.config.load import LoadedConfig, Origin
from stack.config.toml_text import render_key, render_value, show_path


def render_config(loaded: LoadedConfig, *, with_origin: bool = False) -> str:
    """Give every key with the value that holds, as a stack.toml that sets the same; unset ones are comments.

    Args:
        loaded: The configuration.
        with_origin: Say behind each value where it came from.
    """
    tables: dict[tuple[str, ...], list[str]] = {(): []}
    for key in build_keys():
        if key.kind == "value":
            line = _render_line(key.path[-1], loaded.origins[key.dotted], with_origin)
            tables.setdefault(key.path[:-1], []).append(line)
        elif key.kind == "map":
            tables.setdefault(key.path[:-1], [])
            tables[key.path] = _render_entries(key.path, loaded, with_origin)
    blocks = ["\n".join([*([f"[{show_path(path)}]"] if path else []), *body]) for path, body in tables.items()]
    return "\n\n".join(blocks) + "\n"


def _render_entries(path: tuple[str, ...], loaded: LoadedConfig, with_origin: bool) -> list[str]:
    value = loaded.config
    for name in path:
        value = getattr(value, name)
    return [_render_line(name, loaded.origins[show_path((*path, name))], with_origin) for name in value]


def _render_line(name: str, origin: Origin, with_origin: bool) -> str:
    if origin.value is None:
        line = f"# {render_key(name)} is unset"
        return f"{line}, {origin.where}" if with_origin else line
    value = origin.value
    if isinstance(value, list):
        value = [item.model_dump(by_alias=True) if isinstance(item, BaseModel) else item for item in value]
    line = f"{render_key(name)} = {render_value(value)}"
    return f"{line}  # {origin.where}" if with_origin else line
