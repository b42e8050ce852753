"""Options that several commands share, and how a command gets its session."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from stack.console import Console

_Command = TypeVar("_Command", bound=Callable[..., Any])

OFFLINE = click.option(
    "--offline", is_flag=True, default=None, help="Use nothing but what is on this machine, and ask nobody"
)
_AGE = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document")
JSON_LINES = click.option("--json", "as_json", is_flag=True, help="Print one JSON document a line")
MODEL = click.option("--model", help="Model: a hub id, a directory, or `demo`")
REVISION = click.option("--revision", help="Revision of a hub model")


class Age(click.ParamType):
    """`90s`, `10m`, `2h` or `1d`."""

    name = "AGE"

    def convert(
        self, value: str | datetime.timedelta, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime.timedelta:
        if isinstance(value, datetime.timedelta):
            return value
        match = _AGE.fullmatch(value)
        if match is None:
            self.fail(f"`{value}` is no time such as `90s`, `10m`, `2h` or `1d`", param, ctx)
        return datetime.timedelta(**{_UNITS[match[2]]: int(match[1])})


class FiniteRange(click.FloatRange):
    """A number in a range; `nan` is in none, though it is neither below nor above."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if number != number:
            self.fail(f"`{value}` is no number", param, ctx)
        return number


class Moment(click.ParamType):
    """A time: `10m` ago, or ISO 8601, in this machine's zone where it names none; as UTC."""

    name = "TIME"

    def convert(
        self, value: str | datetime.datetime, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime.datetime:
        if isinstance(value, datetime.datetime):
            return value
        try:
            if _AGE.fullmatch(value):
                return datetime.datetime.now(datetime.UTC) - Age().convert(value, param, ctx)
            return datetime.datetime.fromisoformat(value).astimezone(datetime.UTC)
        except (ValueError, OverflowError):
            self.fail(f"`{value}` is no time such as `10m`, `2h` or `2026-11-22T14:30:00`", param, ctx)


def project_options(command: _Command) -> _Command:
    """Add the options that choose the configuration."""
    command = click.option("--project", help="Project name [env: STACK_PROJECT]")(command)
    return click.option(
        "--config",
        "config_path",
        type=click.Path(dir_okay=False, path_type=Path),
        help="stack.toml to use [env: STACK_CONFIG]",
    )(command)


def target_options(command: _Command) -> _Command:
    """Add the options by which a commit, release or tag of the engine is looked up."""
    command = click.option("--accept", type=click.Choice(["verified", "claimed"]), help="What proves a commit")(command)
    path = click.Path(exists=True, file_okay=False, path_type=Path)
    help_text = "Local clone of vLLM, which expands abbreviated commits"
    command = click.option("--repo", "repository", type=path, help=help_text)(command)
    help_text = "CUDA variant, such as `cu129`; upstream's default if not given"
    command = click.option("--cuda", metavar="VARIANT", help=help_text)(command)
    return click.option("--device", type=click.Choice(["auto", "cuda", "cpu"]), help="For which device")(command)


def open_session(console: Console, config_path: Path | None, flags: Mapping[str, Any]) -> Any:
    """Load the configuration and give the session of a run.

    Raises:
        ConfigError: What is wrong, all of it at once.
    """
    from stack.config.load import find_config, load_config
    from stack.errors import ConfigError, Problem
    from stack.operations.session import build_session

    root = click.get_current_context().find_root().params
    config_path = config_path or root.get("root_config")
    if flags.get("project") is None:
        flags = {**flags, "project": root.get("root_project")}
    if config_path is not None and not config_path.is_file():
        raise ConfigError([Problem("--config", f"{config_path} does not exist")], hint="stack config init")
    path = config_path.absolute() if config_path else find_config(Path.cwd(), os.environ)
    if path is not None and not path.is_file():
        raise ConfigError([Problem("STACK_CONFIG", f"{path} does not exist")], hint="stack config init")
    loaded = load_config(path, os.environ, flags)
    for warning in loaded.warnings:
        console.warn(str(warning))
    return build_session(loaded, os.environ, console.report, console.info, console.warn)
