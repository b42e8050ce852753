"""Directories that follow from the environment: XDG base directories and what lies in them (pure).

Source: XDG Base Directory Specification 0.8: an unset, empty or relative variable counts as not set.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path

from stack.config.schema import StackConfig
from stack.errors import ConfigError, Problem


def resolve_home(environ: Mapping[str, str]) -> Path:
    """Give the home directory.

    Raises:
        ConfigError: HOME is not set and this user has no entry in the user database.
    """
    home = environ.get("HOME", "")
    if home.startswith("/"):
        return Path(home)
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError as err:
        raise ConfigError([Problem("HOME", "is not set, and this user has no home directory")]) from err


def resolve_model_volume(environ: Mapping[str, str]) -> Path:
    """Give the shared volume that is used where `model.volume` says nothing."""
    return _base(environ, "XDG_DATA_HOME", ".local/share") / "stack" / "models"


def resolve_archive_dir(environ: Mapping[str, str]) -> Path:
    """Give the archive's directory that is used where `images.archive-dir` says nothing."""
    return _base(environ, "XDG_DATA_HOME", ".local/share") / "stack" / "images"


def resolve_cache_dir(config: StackConfig, environ: Mapping[str, str]) -> Path:
    """Give the directory of the engine's compile caches."""
    if config.engine.cache_dir is not None:
        return config.engine.cache_dir
    return _base(environ, "XDG_CACHE_HOME", ".cache") / "stack" / config.project


def resolve_state_dir(project: str, environ: Mapping[str, str]) -> Path:
    """Give the project's state directory (STACK_STATE_HOME stands in for `$XDG_STATE_HOME/stack`)."""
    own = environ.get("STACK_STATE_HOME", "")
    root = Path(own) if own.startswith("/") else _base(environ, "XDG_STATE_HOME", ".local/state") / "stack"
    return root / project


def _base(environ: Mapping[str, str], name: str, below_home: str) -> Path:
    value = environ.get(name, "")
    return Path(value) if value.startswith("/") else resolve_home(environ) / below_home
