"""The configuration as a bundle carries it, and as it is taken from one. Pure.

What is true on one machine only stays there: paths, above all. And a stranger's
configuration may not do everything that one's own may: it must not send this user's hub token to another hub, run
the code that comes with a model, open the engine to the network, or settle for an unproved commit. Those keys are
left out unless the bundle is trusted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from stack.bundles.problem import BundleError
from stack.config.keys import build_key_index, build_keys, read_key, takes_path
from stack.config.layers import build_toml_layer
from stack.config.load import LoadedConfig
from stack.config.toml_source import parse_toml
from stack.config.toml_text import render_key, render_value, show_path

Settings = dict[tuple[str, ...], Any]

# `offline` says what a command may do, and not what the stack is.
_OF_THIS_MACHINE = frozenset({("offline",)})
_TRUSTED_ONLY = frozenset(
    {
        ("model", "endpoint"),
        ("engine", "allow-remote-code"),
        ("engine", "accept"),
        ("services", "gateway", "expose"),
    }
)
_TOKEN = re.compile(r"hf_[A-Za-z0-9]{20,}|-----BEGIN [A-Z ]*PRIVATE KEY")
_HEADER = "# From a bundle: what was set where it was saved, without what is true there only.\n"


def build_carried_settings(loaded: LoadedConfig) -> tuple[Settings, list[str]]:
    """Give what somebody set, as far as it is true elsewhere, and the keys that are left out.

    Raises:
        BundleError: A value looks like a secret.
    """
    settings: Settings = {("project",): loaded.config.project}
    for key in build_keys():
        if key.kind == "table":
            continue
        value = read_key(loaded.config, key)
        entries = {(*key.path, name): item for name, item in value.items()} if key.kind == "map" else {key.path: value}
        settings |= {path: item for path, item in entries.items() if _is_set(loaded, path, item)}
    return filter_settings({path: _to_plain(value) for path, value in settings.items()})


def _is_set(loaded: LoadedConfig, path: tuple[str, ...], value: Any) -> bool:
    return value is not None and loaded.origins[show_path(path)].source != "default"


def _to_plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(by_alias=True)
    return [_to_plain(item) for item in value] if isinstance(value, list | tuple) else value


def filter_settings(settings: Mapping[tuple[str, ...], Any]) -> tuple[Settings, list[str]]:
    """Leave out what is true on one machine only; give the rest, and the keys that are gone.

    Raises:
        BundleError: A value looks like a secret.
    """
    kept: Settings = {}
    gone = []
    for path, value in settings.items():
        if _is_of_this_machine(path, value):
            gone.append(show_path(path))
            continue
        if _TOKEN.search(render_value(value)):
            raise BundleError(
                f"`{show_path(path)}` holds what looks like a secret, and secrets are never part of a bundle",
                hint="take it out of the configuration: secrets are files",
            )
        kept[path] = value
    return kept, gone


def _is_of_this_machine(path: tuple[str, ...], value: Any) -> bool:
    index = build_key_index()
    key = index.get(path) or index.get(path[:-1])
    if path in _OF_THIS_MACHINE or (key is not None and takes_path(key)):
        return True
    if path == ("model", "id"):
        return str(value).startswith(("/", ".", "~"))
    return path == ("images", "pip-find-links") and "://" not in str(value)


def parse_settings(text: str, where: Path) -> Settings:
    """Read a stack.toml as flat settings.

    Raises:
        ConfigError: It is no TOML.
    """
    layer = build_toml_layer(parse_toml(text, where))
    return {setting.path: setting.value for setting in layer.settings}


def take_settings(settings: Settings, *, trust: bool, accept: bool) -> tuple[Settings, list[str]]:
    """Give what a bundle's configuration may say here, and the keys that it may not.

    Args:
        settings: What it says.
        trust: Whether whoever saved it is trusted.
        accept: Whether an unproved commit was accepted for this load.
    """
    kept, gone = filter_settings(settings)
    allowed = {("engine", "accept")} if accept else set()
    refused = [] if trust else [path for path in kept if path in _TRUSTED_ONLY - allowed]
    return {path: value for path, value in kept.items() if path not in refused}, [
        *gone,
        *(show_path(path) for path in refused),
    ]


def says_same(own: Settings, received: Settings) -> bool:
    """Tell whether two configurations say the same, as far as a bundle may say anything."""
    mine, theirs = (_comparable(settings) for settings in (own, received))
    return mine == theirs


def _comparable(settings: Settings) -> Settings:
    kept, _ = filter_settings(settings)
    # A stack.toml that names no project has the default's name.
    return {("project",): "stack"} | {path: value for path, value in kept.items() if path not in _TRUSTED_ONLY}


def render_settings(settings: Mapping[tuple[str, ...], Any]) -> str:
    """Give settings as the text of a stack.toml."""
    tables: dict[tuple[str, ...], list[str]] = {(): []}
    for path, value in settings.items():
        tables.setdefault(path[:-1], []).append(f"{render_key(path[-1])} = {render_value(value)}")
    blocks = ["\n".join([*([f"[{show_path(path)}]"] if path else []), *lines]) for path, lines in tables.items()]
    return _HEADER + "\n\n".join(blocks) + "\n"


def find_secrets(texts: Iterable[str], secrets: Iterable[str]) -> bool:
    """Tell whether a text holds one of the project's secrets."""
    known = [secret for secret in secrets if len(secret) >= 8]
    return any(secret in text for text in texts for secret in known)
