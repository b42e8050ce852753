"""Loading a configuration from text, with a home and a working directory of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from stack.config.load import LoadedConfig, load_config
from stack.errors import ConfigError

HOME = "/home/someone"

# The same examples in every run, and no deadline: a busy machine is no failure.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., LoadedConfig]:
    """Load stack.toml (text), variables and flags."""

    def _load(
        toml: str | None = None,
        environ: Mapping[str, str] | None = None,
        flags: Mapping[str, Any] | None = None,
    ) -> LoadedConfig:
        path = None
        if toml is not None:
            path = tmp_path / "stack.toml"
            path.write_text(toml)
        variables = {"HOME": HOME, **(environ or {})}
        return load_config(path, variables, flags or {}, working_directory=Path("/work-dir"))

    return _load


@pytest.fixture
def problems(load: Callable[..., LoadedConfig]) -> Callable[..., str]:
    """Load what must fail, and give its whole message."""

    def _problems(*args: Any, **kwargs: Any) -> str:
        with pytest.raises(ConfigError) as caught:
            load(*args, **kwargs)
        assert caught.value.exit_code == 2
        return str(caught.value)

    return _problems
