"""The layers of the configuration as flat settings: what stack.toml, the environment and flags say (pure)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stack.config.keys import ENV_PREFIX, Key, build_key_index, build_keys
from stack.config.text_values import parse_arg_text, parse_text
from stack.config.toml_source import TomlSource
from stack.config.toml_text import show_path
from stack.config.unknown import describe_unknown_key, describe_unknown_variable
from stack.config.values import show_value
from stack.errors import Problem

# Read by the tool itself, its scripts and its tests, and no keys.
OWN_VARIABLES = frozenset(
    {"STACK_CONFIG", "STACK_KEEP_FAILED", "STACK_PYTHON", "STACK_REQUIRE", "STACK_STATE_HOME", "STACK_VENV"}
)
OWN_PREFIXES = ("STACK_TEST_",)
# Those of the Haskell build tool, which is called stack too.
FOREIGN_VARIABLES = frozenset(
    {"STACK_GLOBAL_CONFIG", "STACK_ROOT", "STACK_WORK", "STACK_XDG", "STACK_YAML", "STACK_UNPACKED_DIR"}
)

FLAG_NAMES = {
    "engine.accept": "--accept",
    "engine.commit": "--commit",
    "engine.device": "--device",
    "images.source": "--images",
    "model.id": "--model",
    "model.revision": "--revision",
    "offline": "--offline",
    "project": "--project",
    "services.gateway.expose": "--expose",
    "smoke.enabled": "--no-smoke",
}


@dataclass(frozen=True)
class Setting:
    """One value that somebody gave.

    Attributes:
        path: The key from the top; an entry of a map has the map's path and its own name.
        value: What was given.
        source: `stack.toml`, the variable's or the flag's name.
        where: File and line, the variable's or the flag's name.
        base: What relative paths are relative to.
    """

    path: tuple[str, ...]
    value: Any
    source: str
    where: str
    base: Path

    @property
    def dotted(self) -> str:
        """Give the key as it is written in messages."""
        return show_path(self.path)


@dataclass
class Layer:
    """What one source says, and what is wrong with how it says it."""

    settings: list[Setting] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def build_toml_layer(source: TomlSource) -> Layer:
    """Give the settings of a stack.toml."""
    layer = Layer()
    base = source.path.absolute().parent
    _walk_table(source.tables, (), layer, source, base)
    return layer


def _walk_table(
    table: Mapping[str, Any], prefix: tuple[str, ...], layer: Layer, source: TomlSource, base: Path
) -> None:
    index = build_key_index()
    for name, value in table.items():
        path = (*prefix, name)
        key = index.get(path)
        where = source.locate(path)
        if key is None:
            message = f"{describe_unknown_key(path)} ({where})"
            layer.problems.append(Problem(show_path(path), message))
        elif key.kind == "value":
            layer.settings.append(Setting(path, value, "stack.toml", where, base))
        elif not isinstance(value, dict):
            layer.problems.append(Problem(show_path(path), f"{_describe_no_table(key, value)} ({where})"))
        elif key.kind == "table":
            _walk_table(value, path, layer, source, base)
        else:
            for entry, item in value.items():
                own = (*path, entry)
                layer.settings.append(Setting(own, item, "stack.toml", source.locate(own), base))


def _describe_no_table(key: Key, value: Any) -> str:
    first = next((other for other in build_keys() if other.path[:-1] == key.path), None)
    near = f"; `{first.dotted}` may be meant" if first is not None and isinstance(value, str) else ""
    return f"must be a table ([{key.dotted}]), not {show_value(value)}{near}"


def build_environment_layer(environ: Mapping[str, str], working_directory: Path) -> Layer:
    """Give the settings of the STACK_* variables; an empty variable counts as not set."""
    layer = Layer()
    known = {key.env_name: key for key in build_keys() if key.kind != "table"}
    for name in sorted(environ):
        if not name.startswith(ENV_PREFIX) or not environ[name]:
            continue
        if name in OWN_VARIABLES | FOREIGN_VARIABLES or name.startswith(OWN_PREFIXES):
            continue
        key = known.get(name)
        setting = Setting((), environ[name], name, name, working_directory)
        if key is not None and key.kind == "value":
            _add_value(layer, replace(setting, path=key.path), key)
        elif key is not None:
            _add_map(layer, replace(setting, path=key.path))
        elif path := _parse_entry_name(name):
            layer.settings.append(replace(setting, path=path, value=_parse_entry(path, environ[name])))
        else:
            layer.problems.append(Problem(name, describe_unknown_variable(name, known)))
    return layer


def build_flag_layer(flags: Mapping[str, Any], working_directory: Path) -> Layer:
    """Give the settings of the command line, by dotted key; None counts as not given."""
    layer = Layer()
    index = build_key_index()
    maps = [key for key in build_keys() if key.kind == "map"]
    for dotted, value in flags.items():
        if value is None:
            continue
        flag = FLAG_NAMES.get(dotted, f"--{dotted.rsplit('.', 1)[-1]}")
        path = tuple(dotted.split("."))
        setting = Setting(path, value, flag, flag, working_directory)
        owner = next((key for key in maps if dotted.startswith(f"{key.dotted}.")), None)
        key = index.get(path)
        if owner is not None:
            path = (*owner.path, dotted.removeprefix(f"{owner.dotted}."))
            item = _parse_entry(path, value) if isinstance(value, str) else value
            layer.settings.append(replace(setting, path=path, value=item))
        elif key is None or key.kind == "table":
            layer.problems.append(Problem(dotted, f"{describe_unknown_key(path)} ({flag})"))
        elif key.kind == "map":
            _add_map(layer, setting)
        else:
            _add_value(layer, setting, key)
    return layer


def _add_value(layer: Layer, setting: Setting, key: Key) -> None:
    if not isinstance(setting.value, str):
        layer.settings.append(setting)
        return
    try:
        layer.settings.append(replace(setting, value=parse_text(key, setting.value)))
    except ValueError as err:
        layer.problems.append(Problem(setting.dotted, f"{err} ({setting.where})"))


def _add_map(layer: Layer, setting: Setting) -> None:
    value = setting.value
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, dict):
        example = '{"max-model-len": 4096}' if setting.path == ("engine", "args") else '{"name": "value"}'
        message = f"must be a JSON object such as '{example}' ({setting.where})"
        layer.problems.append(Problem(setting.dotted, message))
        return
    for name, item in value.items():
        layer.settings.append(replace(setting, path=(*setting.path, name), value=item))


def _parse_entry_name(variable: str) -> tuple[str, ...] | None:
    """Give the key of a variable that names one entry (STACK_ENGINE_ARGS_MAX_MODEL_LEN)."""
    for owner, to_name in (("args", lambda text: text.replace("_", "-").lower()), ("env", str)):
        prefix = f"{ENV_PREFIX}ENGINE_{owner.upper()}_"
        if variable.startswith(prefix) and variable != prefix:
            return ("engine", owner, to_name(variable.removeprefix(prefix)))
    return None


def _parse_entry(path: tuple[str, ...], text: str) -> Any:
    return parse_arg_text(text) if path[:2] == ("engine", "args") else text
