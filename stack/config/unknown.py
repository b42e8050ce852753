"""What to say about a key or variable that does not exist: the nearest that does (pure)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from difflib import SequenceMatcher, get_close_matches

from stack.config.engine_flags import KNOWN_FLAGS
from stack.config.engine_reserved import RESERVED_ARGS
from stack.config.keys import Key, build_key_index, build_keys
from stack.config.toml_text import show_path

# What people write who come from other tools.
_SYNONYMS = {
    "engine.api-key-file": "engine.api-key",
    "engine.gpus": "engine.devices",
    "engine.host": "services.gateway.expose",
    "engine.model": "model.id",
    "engine.revision": "engine.commit",
    "engine.served-model-name": "model.served-name",
    "engine.tag": "engine.version",
    "engine.trust-remote-code": "engine.allow-remote-code",
    "model.dir": "model.id",
    "model.directory": "model.id",
    "model.hf-token": "model.token-file",
    "model.name": "model.id",
    "model.path": "model.id",
    "model.served-model-name": "model.served-name",
    "model.token": "model.token-file",
    "services.gateway.enabled": "services.gateway.expose",
    "services.vllm": "services.engine",
}


def describe_unknown_key(path: Sequence[str]) -> str:
    """Say that a key is unknown, and which one was probably meant."""
    kebab = tuple(name.replace("_", "-").lower() for name in path)
    nearest = _find_nearest(kebab)
    if nearest is not None:
        return f"unknown key; the nearest is `{nearest}`"
    names = [show_path(key.path[-1:]) for key in _children(kebab[:-1]) or _children(())]
    return f"unknown key; here may stand {', '.join(f'`{name}`' for name in names)}"


def describe_unknown_variable(name: str, known: Collection[str]) -> str:
    """Say that a STACK_* variable is unknown, and which one was probably meant."""
    near = get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    hint = f"; the nearest is `{near[0]}`" if near else "; variables are named after keys: STACK_ENGINE_DEVICE"
    return f"unknown variable{hint}"


def _find_nearest(path: tuple[str, ...]) -> str | None:
    index = build_key_index()
    dotted = ".".join(path)
    if path in index:
        return index[path].dotted
    if dotted in _SYNONYMS:
        return _SYNONYMS[dotted]
    if path[0] == "engine" and path[-1] in KNOWN_FLAGS and path[-1] not in RESERVED_ARGS:
        return show_path(("engine", "args", path[-1]))
    siblings = {key.path[-1]: key.dotted for key in _children(path[:-1])}
    if near := get_close_matches(path[-1], list(siblings), n=1, cutoff=0.7):
        return siblings[near[0]]
    last_names = {key.path[-1] for key in build_keys()}
    near = get_close_matches(path[-1], sorted(last_names), n=1, cutoff=0.8)
    same_name = [key.dotted for key in build_keys() if near and key.path[-1] == near[0]]
    return max(same_name, key=lambda known: SequenceMatcher(None, known, dotted).ratio(), default=None)


def _children(table: tuple[str, ...]) -> list[Key]:
    return [key for key in build_keys() if key.path[:-1] == table]
