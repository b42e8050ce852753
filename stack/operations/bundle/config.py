"""The configuration as a bundle carries it, and as it is taken from one. Pure.

What is true on one machine only stays there: paths, above all, and secrets. And of a stranger's configuration only
those keys are taken that are known to be harmless (`bundle_trust`); the others are left out unless the bundle is
trusted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from stack.bundles.manifest import Bundle
from stack.bundles.problem import BundleError
from stack.config.keys import build_key_index, build_keys, read_key, takes_path
from stack.config.layers import build_toml_layer
from stack.config.load import LoadedConfig
from stack.config.toml_source import TomlSource, load_toml, parse_toml
from stack.config.toml_text import render_key, render_value, show_path
from stack.operations.bundle.trust import find_service, may_set

Settings = dict[tuple[str, ...], Any]

# `offline` says what a command may do, and not what the stack is.
_OF_THIS_MACHINE = frozenset({("offline",)})
# Who accepts a claim says so here, once for each load.
_ACCEPT = ("engine", "accept")
# What hubs, forges, chat and clouds give out as tokens, private keys, and a URL that holds a name or password.
_SECRET = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{20}|gh[pousr]_[A-Za-z0-9]{20}|github_pat_[A-Za-z0-9_]{20}|glpat-[A-Za-z0-9_-]{16}"
    r"|sk-[A-Za-z0-9_-]{20}|xox[a-z]-[A-Za-z0-9-]{10}|(?:AKIA|ASIA)[A-Z0-9]{16}\b)"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY|://[^/\s\"'@]+@"
)
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
    kept, gone = filter_settings({path: _to_plain(value) for path, value in settings.items()})
    _demand_no_secret(kept)
    return kept, gone


def _is_set(loaded: LoadedConfig, path: tuple[str, ...], value: Any) -> bool:
    return value is not None and loaded.origins[show_path(path)].source != "default"


def _to_plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(by_alias=True)
    return [_to_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _demand_no_secret(settings: Settings) -> None:
    for path, value in settings.items():
        if has_secret(render_value(value)):
            raise BundleError(
                f"`{show_path(path)}` holds what looks like a secret, and secrets are never part of a bundle",
                hint="take it out of the configuration: secrets are files, and a proxy's or index's password has its "
                "place in the environment or in ~/.netrc",
            )


def has_secret(text: str) -> bool:
    """Tell whether a text holds what has the shape of a token, a private key or a URL with a password."""
    return _SECRET.search(text) is not None


def filter_settings(settings: Mapping[tuple[str, ...], Any]) -> tuple[Settings, list[str]]:
    """Leave out what is true on one machine only; give the rest, and the keys that are gone."""
    kept = {path: value for path, value in settings.items() if not _is_of_this_machine(path, value)}
    return kept, [show_path(path) for path in settings if path not in kept]


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
    return _flatten(parse_toml(text, where))


def load_settings(path: Path) -> Settings | None:
    """Read the stack.toml of this machine as flat settings; None where there is none.

    Raises:
        ConfigError: It cannot be read, is no UTF-8 or no TOML.
    """
    return _flatten(load_toml(path)) if path.is_file() else None


def _flatten(source: TomlSource) -> Settings:
    return {setting.path: setting.value for setting in build_toml_layer(source).settings}


def take_settings(settings: Settings, bundle: Bundle, *, trust: bool, accept: bool) -> tuple[Settings, list[str]]:
    """Give what a bundle's configuration may say here, and the keys that it may not.

    Args:
        settings: What it says.
        bundle: The manifest.
        trust: Whether whoever saved it is trusted.
        accept: Whether an unproved commit was accepted for this load.
    """
    kept, gone = filter_settings(settings)
    refused = [
        path
        for path, value in kept.items()
        if not (trust or (accept and path == _ACCEPT) or may_set(path, value, bundle))
    ]
    return {path: value for path, value in kept.items() if path not in refused}, [
        *gone,
        *(show_path(path) for path in refused),
    ]


def says_same(own: Settings, received: Settings, bundle: Bundle, *, trust: bool) -> bool:
    """Tell whether two configurations say the same, as far as a bundle may say anything."""
    mine, theirs = (_comparable(settings, bundle, trust) for settings in (own, received))
    return mine == theirs


def _comparable(settings: Settings, bundle: Bundle, trust: bool) -> Settings:
    kept, _ = filter_settings(settings)
    # A stack.toml that names no project has the default's name.
    return {("project",): "stack"} | {
        path: value
        for path, value in kept.items()
        # Another image than the bundle's is no matter of trust: it is not what the bundle says.
        if path != _ACCEPT and (trust or find_service(path) is not None or may_set(path, value, bundle))
    }


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
