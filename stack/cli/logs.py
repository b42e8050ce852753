"""`stack logs`."""

from __future__ import annotations

from pathlib import Path

import click

from stack.cli.options import open_session, project_options
from stack.console import Console
from stack.containers.layout import SERVICES


@click.command("logs")
@click.argument("service", type=click.Choice(SERVICES), metavar="SERVICE")
@click.option("-f", "--follow", is_flag=True, help="Go on as new lines come")
@click.option("--lines", type=click.IntRange(min=1), help="Only the last lines")
@project_options
@click.pass_obj
def command(
    console: Console,
    config_path: Path | None,
    project: str | None,
    service: str,
    follow: bool,
    lines: int | None,
) -> None:
    """Show a service's log; of an engine that is gone, the log of its last boot."""
    from stack.operations.logs import read_lines

    session = open_session(console, config_path, {"project": project})
    for line in read_lines(session, service, follow=follow, lines=lines):
        console.result(line)
