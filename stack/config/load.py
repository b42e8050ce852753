"""Finds and loads the configuration: default < stack.toml < STACK_* < flags; all problems at once."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from stack.config.host_paths import resolve_setting
from stack.config.keys import build_keys, read_key
from stack.config.layers import Setting, build_environment_layer, build_flag_layer, build_toml_layer
from stack.config.places import resolve_archive_dir, resolve_home, resolve_model_volume
from stack.config.schema import StackConfig
from stack.config.toml_source import load_toml
from stack.config.toml_text import show_path
from stack.config.validate import validate_settings
from stack.errors import ConfigError, Problem

CONFIG_NAME = "stack.toml"
_TRUSTED_OWNERS = frozenset({0})
_NO_FLAGS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Origin:
    """Where a value came from.

    Attributes:
        value: The value that holds.
        source: `default`, `stack.toml`, the variable's name (`STACK_ENGINE_DEVICE`) or the flag (`--device`).
        where: File and line for stack.toml, else the same as `source`.
    """

    value: Any
    source: str
    where: str


@dataclass(frozen=True)
class LoadedConfig:
    """The configuration, and how it came about.

    Attributes:
        config: The configuration.
        origins: Where the value of every key came from, by dotted key; maps have one for each entry.
        path: The stack.toml that was read, or None.
        warnings: What will have no effect, or another one than was probably meant.
    """

    config: StackConfig
    origins: Mapping[str, Origin]
    path: Path | None
    warnings: tuple[Problem, ...] = field(default=())


def find_config(start: Path, environ: Mapping[str, str]) -> Path | None:
    """Give the stack.toml to use: STACK_CONFIG, else the nearest in the directory or its parents.

    Raises:
        ConfigError: The nearest lies in a directory that everybody may write to, and belongs to someone else.
    """
    named = environ.get("STACK_CONFIG", "")
    if named:
        if named == "~" or named.startswith("~/"):
            return resolve_home(environ) / named[2:]
        return start.absolute() / named
    for directory in (start.absolute(), *start.absolute().parents):
        path = directory / CONFIG_NAME
        if _is_file(path):
            _check_owner(path)
            return path
    return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except PermissionError:
        return False


def _check_owner(path: Path) -> None:
    """Refuse what a stranger may have put into a place such as /tmp: a stack.toml chooses what runs."""
    owner = path.stat().st_uid
    if owner in {*_TRUSTED_OWNERS, os.getuid()} or not path.parent.stat().st_mode & stat.S_IWOTH:
        return
    message = "belongs to another user and lies where everybody may write"
    raise ConfigError([Problem(str(path), message)], hint=f"to use it all the same: STACK_CONFIG={path}")


def load_config(
    path: Path | None,
    environ: Mapping[str, str],
    flags: Mapping[str, Any] = _NO_FLAGS,
    *,
    working_directory: Path | None = None,
) -> LoadedConfig:
    """Load the configuration from all its layers.

    Args:
        path: The stack.toml, or None for none.
        environ: The environment.
        flags: Values from the command line by dotted key (`engine.device`); None is not given.
        working_directory: What relative paths in variables and flags are relative to (default: here).

    Raises:
        ConfigError: Everything that is wrong, each problem with its key and where it was set.
    """
    if path is not None and environ.get("STACK_CONFIG") and not path.exists():
        raise ConfigError([Problem("STACK_CONFIG", f"names `{path}`, which does not exist")])
    here = (working_directory or Path.cwd()).absolute()
    home = resolve_home(environ)
    layers = [build_environment_layer(environ, here), build_flag_layer(flags, here)]
    if path is not None:
        layers.insert(0, build_toml_layer(load_toml(path)))
    volume = Setting(("model", "volume"), str(resolve_model_volume(environ)), "default", "default", here)
    archive = Setting(("images", "archive-dir"), str(resolve_archive_dir(environ)), "default", "default", here)
    settings = {volume.path: volume, archive.path: archive}
    settings |= {setting.path: setting for layer in layers for setting in layer.settings}
    resolved = [resolve_setting(setting, home) for setting in settings.values()]
    problems = [problem for layer in layers for problem in layer.problems]
    result = validate_settings(resolved, wrong={problem.path for problem in problems})
    problems += result.problems
    if problems or result.config is None:
        raise ConfigError(list(dict.fromkeys(problems)), hint=_hint(problems))
    origins = MappingProxyType(_build_origins(result.config, resolved))
    return LoadedConfig(result.config, origins, path, tuple(result.warnings))


def _hint(problems: Iterable[Problem]) -> str | None:
    if any("unknown key" in problem.message for problem in problems):
        return "`stack config init` prints every key with its meaning"
    return None


def _build_origins(config: StackConfig, settings: Iterable[Setting]) -> dict[str, Origin]:
    given = {setting.path: setting for setting in settings}
    origins: dict[str, Origin] = {}
    for key in build_keys():
        if key.kind == "table":
            continue
        value = read_key(config, key)
        entries = value.items() if key.kind == "map" else ((None, value),)
        for name, item in entries:
            path = key.path if name is None else (*key.path, name)
            setting = given.get(path)
            source, where = (setting.source, setting.where) if setting else ("default", "default")
            origins[show_path(path)] = Origin(item, source, where)
    return origins
