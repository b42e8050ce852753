"""`stack config`."""

from __future__ import annotations

from pathlib import Path

import click

from stack.cli.options import JSON, open_session, project_options
from stack.console import Console


@click.group("config")
def command() -> None:
    """Show, describe or start a configuration."""


@command.command("show")
@click.option("--origin", is_flag=True, help="Tell where each value came from")
@JSON
@project_options
@click.pass_obj
def show(console: Console, config_path: Path | None, as_json: bool, project: str | None, origin: bool) -> None:
    """Show every value that holds."""
    from stack.config.show import render_config

    session = open_session(console, config_path, {"project": project})
    if as_json:
        rows = [
            {"key": key, "value": _plain(item.value)} | ({"source": item.source, "where": item.where} if origin else {})
            for key, item in session.loaded.origins.items()
        ]
        console.json({"schema_version": 1, "values": rows})
        return
    console.result(render_config(session.loaded, with_origin=origin).rstrip("\n"))


@command.command("schema")
@click.pass_obj
def schema(console: Console) -> None:
    """Print the JSON Schema of stack.toml, for editors."""
    from stack.config.schema_json import build_json_schema

    console.json(build_json_schema())


@command.command("table")
@click.pass_obj
def table(console: Console) -> None:
    """Print every key as a Markdown table."""
    from stack.config.schema_json import render_table

    console.result(render_table().rstrip("\n"))


@command.command("init", short_help="Write a stack.toml with every key, and its schema")
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path), default=Path("stack.toml"))
@click.option("--force", is_flag=True, help="Replace a file that is there")
@click.pass_obj
def init(console: Console, path: Path, force: bool) -> None:
    """Write a stack.toml with every key and its default, all commented out, and its schema beside it."""
    import json

    from stack.config.schema_json import SCHEMA_FILE, build_json_schema, render_init
    from stack.errors import ConfigError, Problem
    from stack.operations.write import write_whole

    if path.exists() and not force:
        raise ConfigError([Problem(str(path), "is there already")], hint="--force replaces it")
    write_whole(path, render_init())
    write_whole(path.with_name(SCHEMA_FILE), json.dumps(build_json_schema(), indent=2) + "\n")
    console.result(f"wrote {path} and {path.with_name(SCHEMA_FILE)}")


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    return value.model_dump(mode="json", by_alias=True) if hasattr(value, "model_dump") else value
