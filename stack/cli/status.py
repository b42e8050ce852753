"""`stack status`."""

from __future__ import annotations

from pathlib import Path

import click

from stack.cli.options import JSON, open_session, project_options
from stack.console import Console
from stack.errors import EXIT_CHECK_FAILED


@click.command("status")
@click.option("--show-secrets", is_flag=True, help="Show the generated keys and passwords")
@click.option(
    "--check", is_flag=True, help="End with 1 unless the stack is up; without it anything that can be read is 0"
)
@JSON
@project_options
@click.pass_obj
def command(
    console: Console, config_path: Path | None, as_json: bool, project: str | None, show_secrets: bool, check: bool
) -> None:
    """Show what runs, as Docker and the services tell it.

    The stack is up, degraded (with the reasons), down or foreign (its containers were not made by this tool); then
    what differs from stack.toml and stack.lock, services and URLs, model, commit, boot phases and the last smoke.
    """
    from stack.operations.status.document import build_document
    from stack.operations.status.judge import UP
    from stack.operations.status.read import read_secrets, read_status
    from stack.operations.status.summary import render_summary
    from stack.operations.status.verdict import read_verdict
    from stack.operations.upgrade.leftover import describe_trial

    session = open_session(console, config_path, {"project": project})
    client = session.connect()
    trial = describe_trial(session)
    if trial is not None:
        console.warn(trial)
    status = read_status(session, client)
    verdict = read_verdict(session, status, client)
    secrets = read_secrets(session) if show_secrets else None
    if as_json:
        console.json(build_document(status, verdict, secrets))
    else:
        console.result(render_summary(session, status, verdict))
        for name, value in (secrets or {}).items():
            console.result(f"{name} = {value}")
    if check and verdict.state != UP:
        raise click.exceptions.Exit(EXIT_CHECK_FAILED)
