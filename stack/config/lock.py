"""stack.lock: what is true everywhere of what ran: commit, references, digests, model revision, file hashes.

It lies beside stack.toml and is meant to be committed, so it holds no image IDs and no paths of one machine.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stack.config.lock_schema import (
    SCHEMA_VERSION,
    Lock,
    LockedBuild,
    LockedEngine,
    LockedFile,
    LockedImage,
    LockedModel,
    LockedPackage,
)
from stack.config.toml_text import render_key, render_value
from stack.config.translate import show_location, translate_error
from stack.errors import ConfigError, ModelError, Problem
from stack.files import replace_file

__all__ = [
    "LOCK_NAME",
    "Lock",
    "LockedBuild",
    "LockedEngine",
    "LockedFile",
    "LockedImage",
    "LockedModel",
    "LockedPackage",
    "build_lock_path",
    "load_lock",
    "merge",
    "parse_lock",
    "render_lock",
    "write_lock",
]

LOCK_NAME = "stack.lock"

_HEADER = """\
# Written by `stack`, to be committed: what was resolved once runs everywhere.
# Change stack.toml instead of this file; to resolve anew, delete the entry or the file.
"""
_NEW_START = f"delete {LOCK_NAME} to resolve everything anew, or restore it from version control"


def build_lock_path(config_path: Path | None, working_directory: Path) -> Path:
    """Give the path of stack.lock: beside stack.toml, else in the working directory."""
    directory = config_path.parent if config_path is not None else working_directory
    return directory / LOCK_NAME


def load_lock(path: Path) -> Lock:
    """Read a stack.lock; a missing one is an empty Lock.

    Raises:
        ConfigError: It cannot be read, is damaged, or was written by a newer `stack`.
    """
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError:
        return Lock()
    except UnicodeDecodeError as err:
        raise ConfigError([Problem(str(path), f"is damaged: no UTF-8 at byte {err.start}")], hint=_NEW_START) from err
    except OSError as err:
        raise ConfigError([Problem(str(path), f"cannot be read: {err.strerror}")]) from err
    return parse_lock(text, path)


def parse_lock(text: str, path: Path) -> Lock:
    """Turn the text of a stack.lock into a Lock.

    Raises:
        ConfigError: It is damaged, or was written by a newer `stack`.
    """
    if re.search(r"^(<{7}|={7}|>{7})( |$)", text, re.MULTILINE):
        message = "holds the marks of a merge that was not finished"
        raise ConfigError([Problem(str(path), message)], hint="take one side of the merge, then `stack up`")
    try:
        tables = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as err:
        raise ConfigError([Problem(str(path), f"is damaged: {err}")], hint=_NEW_START) from err
    version = tables.get("schema_version")
    if type(version) is not int or version < 1:
        message = "is damaged: `schema_version` is missing or no whole number"
        raise ConfigError([Problem(str(path), message)], hint=_NEW_START)
    if version > SCHEMA_VERSION:
        message = f"has schema version {version}, and this `stack` reads {SCHEMA_VERSION}; a newer one wrote it"
        raise ConfigError([Problem(str(path), message)], hint="update `stack`")
    return _validate(tables, path)


def _validate(tables: dict[str, Any], path: Path) -> Lock:
    try:
        return Lock.model_validate(tables)
    except ValidationError as err:
        problems = [
            Problem(f"{path}: {show_location(error['loc'])}", translate_error(error))
            for error in err.errors(include_url=False)
        ]
        raise ConfigError(problems, hint=_NEW_START) from err


def merge(old: Lock, new: Lock) -> Lock:
    """Give the old lock with what the new one knows: its engine and model replace, its images and builds are added.

    Files of the same model and revision are joined; those of another are dropped with it.

    Raises:
        ModelError: A file of the same revision is another than the locked one: a revision never changes.
    """
    model = new.model or old.model
    if old.model and new.model and (old.model.id, old.model.revision) == (new.model.id, new.model.revision):
        _refuse_changed(old.model, new.model)
        model = new.model.model_copy(update={"files": {**old.model.files, **new.model.files}})
    return Lock(
        engine=new.engine or old.engine,
        images={**old.images, **new.images},
        builds={**old.builds, **new.builds},
        model=model,
    )


def _refuse_changed(old: LockedModel, new: LockedModel) -> None:
    changed = sorted(name for name, file in new.files.items() if old.files.get(name, file) != file)
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise ModelError(
            f"{changed[0]}{more} of {new.id} at {str(new.revision)[:19]} is not the file that {LOCK_NAME} names, "
            "and a revision never changes",
            hint="`stack warm --verify` tells whether the files on the volume are those that landed; to accept these, "
            f"delete the model from {LOCK_NAME}",
        )


def render_lock(lock: Lock) -> str:
    """Give the text of a stack.lock: sorted, so that the same lock is the same text."""
    blocks = [f"{_HEADER}schema_version = {SCHEMA_VERSION}"]
    if lock.engine is not None:
        blocks.append(_render_table("engine", lock.engine.model_dump()))
    for name in sorted(lock.images):
        blocks.append(_render_table(f"images.{render_key(name)}", lock.images[name].model_dump()))
    for name, build in sorted(lock.builds.items()):
        table = f"builds.{render_key(name)}"
        blocks.append(_render_table(table, build.model_dump(exclude={"packages"})))
        packages = {key: item.model_dump(exclude_none=True) for key, item in sorted(build.packages.items())}
        blocks.append(_render_table(f"{table}.packages", packages))
    if lock.model is not None:
        blocks.append(_render_table("model", lock.model.model_dump(exclude={"files"})))
        if lock.model.files:
            files = {name: file.model_dump() for name, file in sorted(lock.model.files.items())}
            blocks.append(_render_table("model.files", files))
    return "\n\n".join(blocks) + "\n"


def _render_table(name: str, values: dict[str, Any]) -> str:
    lines = [f"{render_key(key)} = {render_value(value)}" for key, value in values.items() if value is not None]
    return "\n".join([f"[{name}]", *lines])


def write_lock(path: Path, lock: Lock) -> bool:
    """Write a stack.lock whole or not at all; one that already says the same is left alone.

    Returns:
        Whether the file changed.

    Raises:
        ConfigError: It cannot be written.
    """
    target = path.resolve()
    content = render_lock(lock).encode()
    try:
        if target.is_file() and target.read_bytes() == content:
            return False
        replace_file(target, content, mode=target.stat().st_mode & 0o777 if target.exists() else 0o644)
    except OSError as err:
        raise ConfigError([Problem(str(path), f"cannot be written: {err.strerror}")]) from err
    return True
