"""`stack status`."""

from __future__ import annotations

from pathlib import Path

import click

from stack.cli.options import JSON, open_session, project_options
from stack.console import Console


@click.command("status")
@click.option("--show-secrets", is_flag=True, help="Show the generated keys and passwords")
@JSON
@project_options
@click.pass_obj
def command(console: Console, config_path: Path | None, as_json: bool, project: str | None, show_secrets: bool) -> None:
    """Show what runs: services and URLs, model, commit, boot phases, the last smoke."""
    from stack.operations.status import build_document, read_secrets, read_status
    from stack.operations.summary import render_summary

    session = open_session(console, config_path, {"project": project})
    status = read_status(session)
    secrets = read_secrets(session) if show_secrets else None
    if as_json:
        console.json(build_document(status, secrets))
        return
    console.result(render_summary(session, status))
    for name, value in (secrets or {}).items():
        console.result(f"{name} = {value}")
