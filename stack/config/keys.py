"""Every key of the configuration, read off the models: dotted name, kind, type and environment variable."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from stack.config.schema import StackConfig
from stack.config.schema_services import to_kebab
from stack.config.values import Shown

ENV_PREFIX = "STACK_"

Kind = Literal["table", "map", "value"]


@dataclass(frozen=True)
class Key:
    """One key of stack.toml.

    Attributes:
        path: Its names from the top, in TOML spelling.
        kind: `table` (other keys are below it), `map` (its names are free) or `value`.
        field: Its pydantic field.
        types: The plain types that it takes; texts of a `Literal` stand for themselves.
    """

    path: tuple[str, ...]
    kind: Kind
    field: FieldInfo
    types: tuple[Any, ...]

    @property
    def dotted(self) -> str:
        """Give the name as it is written in messages (`engine.args`)."""
        return ".".join(self.path)

    @property
    def env_name(self) -> str:
        """Give the environment variable that sets it."""
        return ENV_PREFIX + "_".join(self.path).replace("-", "_").upper()

    @property
    def description(self) -> str:
        """Give its meaning, one sentence."""
        return self.field.description or ""

    @property
    def shown_default(self) -> str | None:
        """Give how the default is shown, where the value itself would say too little."""
        return next((item.default for item in self.field.metadata if isinstance(item, Shown)), None)

    @property
    def default(self) -> Any:
        """Give the default value (a table has none)."""
        return self.field.get_default(call_default_factory=False)

    @property
    def attributes(self) -> tuple[str, ...]:
        """Give the attribute names that lead to its value."""
        return tuple(name.replace("-", "_") for name in self.path)


@cache
def build_keys() -> tuple[Key, ...]:
    """Give every key, tables before what is in them, in the order of the models."""
    return tuple(_walk(StackConfig, ()))


@cache
def build_key_index() -> dict[tuple[str, ...], Key]:
    """Give every key by its path."""
    return {key.path: key for key in build_keys()}


def read_key(config: StackConfig, key: Key) -> Any:
    """Give the value of a key in a configuration."""
    value: Any = config
    for attribute in key.attributes:
        value = getattr(value, attribute)
    return value


def _walk(model: type[BaseModel], prefix: tuple[str, ...]) -> Iterator[Key]:
    for name, field in model.model_fields.items():
        path = (*prefix, to_kebab(name))
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield Key(path, "table", field, (dict,))
            yield from _walk(annotation, path)
        else:
            kind: Kind = "map" if get_origin(annotation) is dict else "value"
            yield Key(path, kind, field, tuple(dict.fromkeys(_plain_types(annotation))))


def _plain_types(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _plain_types(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for part in get_args(annotation):
            yield from _plain_types(part)
    elif origin is Literal:
        yield from get_args(annotation)
    elif annotation is not type(None):
        yield origin or annotation


def takes_path(key: Key) -> bool:
    """Say whether the key's value, or each value of its map, names a place on this machine."""
    if key.kind == "map":
        return Path in _plain_types(get_args(key.field.annotation)[1])
    return Path in key.types
