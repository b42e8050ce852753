"""`stack eject`."""

from __future__ import annotations

from pathlib import Path

import click

from stack.cli.options import JSON, open_session, project_options
from stack.console import Console


@click.command("eject")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@JSON
@project_options
@click.pass_obj
def command(console: Console, config_path: Path | None, as_json: bool, project: str | None, folder: Path) -> None:
    """Write a plain Compose directory that works without this tool; secrets are never part of it."""
    from stack.operations.eject import run_eject

    session = open_session(console, config_path, {"project": project})
    ejected = run_eject(session, folder.absolute())
    if as_json:
        images, secrets = dict(ejected.images), list(ejected.secrets)
        console.json({"schema_version": 1, "folder": str(ejected.folder), "images": images, "secrets": secrets})
        return
    console.result(f"wrote {ejected.folder}; start it with: cd '{ejected.folder}' && docker compose up -d")
    for secret in ejected.secrets:
        console.result(f"make this secret first, mode 0600: {secret}")
