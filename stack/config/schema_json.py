"""The configuration described from its models: JSON Schema, the table of every key, a first stack.toml."""

from __future__ import annotations

import textwrap
from typing import Any

from stack.config.engine_flags import KNOWN_FLAGS, SWITCHES
from stack.config.engine_reserved import RESERVED_ARGS
from stack.config.keys import Key, build_keys
from stack.config.schema import StackConfig
from stack.config.toml_text import render_key, render_value, show_path

SCHEMA_FILE = "stack.schema.json"
_WIDTH = 100
_TYPE_NAMES = {
    str: "text",
    bool: "true, false",
    int: "whole number",
    float: "number",
    list: "list",
    dict: "table",
}


def build_json_schema() -> dict[str, Any]:
    """Give the JSON Schema of stack.toml, keys as TOML spells them.

    Source: JSON Schema draft 2020-12, which is what pydantic 2 generates.
    """
    generated = StackConfig.model_json_schema(by_alias=True, mode="validation")
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "stack.toml",
        "description": "Configuration of `stack`: all keys are optional",
    }
    schema |= {key: value for key, value in generated.items() if key not in schema}
    schema = {key: _simplify(value) for key, value in schema.items()}
    properties = schema["$defs"]["EngineConfig"]["properties"]
    properties["args"]["propertyNames"] = {"pattern": "^[a-z0-9]+(-[a-z0-9]+)*$"}
    properties["args"]["properties"] = {
        name: {"type": "boolean"} if name in SWITCHES else {} for name in sorted(KNOWN_FLAGS.difference(RESERVED_ARGS))
    }
    properties["env"]["propertyNames"] = {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}
    properties["env"]["additionalProperties"] = {"type": ["string", "integer"]}
    properties["mounts"]["propertyNames"] = {"pattern": "^/."}
    return schema


def _simplify(node: Any) -> Any:
    """Take away what editors have no use for: null, defaults of whole tables, titles that repeat keys."""
    if isinstance(node, list):
        return [_simplify(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {name: _simplify(value) for name, value in node.items()}
    if isinstance(node.get("title"), str):
        del kept["title"]
    if "default" in node and (node["default"] is None or "$ref" in node):
        del kept["default"]
    choices = [choice for choice in kept.get("anyOf", []) if choice != {"type": "null"}]
    if len(choices) == 1:
        del kept["anyOf"]
        kept = {**choices[0], **kept}
    elif choices:
        kept["anyOf"] = choices
    return kept


def render_table() -> str:
    """Give the markdown table of every key: key, type, default, variable, meaning."""
    rows = [("Key", "Type", "Default", "Variable", "Meaning"), ("---",) * 5]
    for key in build_keys():
        if key.kind == "table":
            continue
        variable = f"`{key.env_name}`" + (" (JSON)" if _needs_json(key) else "")
        if key.dotted in {"engine.args", "engine.env"}:
            variable += f", for one of them `{key.env_name}_<NAME>`"
        rows.append((f"`{key.dotted}`", _show_type(key), _show_default(key), variable, key.description))
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows) + "\n"


def _needs_json(key: Key) -> bool:
    return key.kind == "map" or key.types == (list,)


def _show_type(key: Key) -> str:
    if key.kind == "map":
        return "table"
    plain = [_TYPE_NAMES.get(kind, "path") if isinstance(kind, type) else f'`"{kind}"`' for kind in key.types]
    return ", ".join(plain)


def _show_default(key: Key) -> str:
    if key.shown_default is not None:
        return key.shown_default
    return "unset" if key.default is None else f"`{render_value(key.default)}`"


def render_init(schema_reference: str = f"./{SCHEMA_FILE}") -> str:
    """Give a first stack.toml: every key with its meaning and default, commented out.

    As it stands it sets nothing, so defaults of later versions apply. A line that begins with `#` and no
    space after it is a setting: without its `#` it sets the default, or an example where that is unset.

    Args:
        schema_reference: Where editors find the JSON Schema.
    """
    lines = [
        f"#:schema {schema_reference}",
        "# Configuration of `stack`. Every key is optional; to set one, take the `#` before it away.",
        f"# The schema on the first line is for editors: `stack config schema > {SCHEMA_FILE}` writes it.",
    ]
    tables: dict[tuple[str, ...], list[str]] = {(): []}
    for key in build_keys():
        if key.kind == "value":
            tables.setdefault(key.path[:-1], []).extend(_render_setting(key))
        elif key.kind == "map":
            # After the values of its table: in TOML, what follows the header belongs to the map.
            tables.setdefault(key.path[:-1], [])
            tables[key.path] = ["", *_comment(key.description), *_render_examples(key)]
    for path, body in tables.items():
        lines += ["", f"[{show_path(path)}]", *body[1:]] if path else body
    return "\n".join(lines) + "\n"


def _render_setting(key: Key) -> list[str]:
    name = render_key(key.path[-1])
    described = ["", *_comment(key.description)]
    shown = (key.shown_default or "unset").replace("`", "")
    if key.default is None or key.default == []:
        described += _comment(f"Default: {'nothing' if key.default == [] else shown}. Example:")
        return [*described, f"#{name} = {render_value(key.field.examples[0])}"]
    if key.shown_default is not None:
        described += _comment(f"Default: {shown}")
    return [*described, f"#{name} = {render_value(key.default)}"]


def _render_examples(key: Key) -> list[str]:
    example = key.field.examples[0]
    return [
        "# Example:",
        *(f"#{render_key(name)} = {render_value(value)}" for name, value in example.items()),
    ]


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, width=_WIDTH, initial_indent="# ", subsequent_indent="# ")
