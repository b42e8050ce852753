"""`stack down`."""

from __future__ import annotations

from pathlib import Path

import click

from stack.cli.options import JSON, open_session, project_options
from stack.console import Console


@click.command("down")
@click.option("--volumes", is_flag=True, help="Remove the project's volumes too (Prometheus and Grafana data)")
@JSON
@project_options
@click.pass_obj
def command(console: Console, config_path: Path | None, as_json: bool, project: str | None, volumes: bool) -> None:
    """Stop the stack. Models on the shared volume, boot logs and the history stay."""
    from stack.operations.down import run_down

    session = open_session(console, config_path, {"project": project})
    with console.live():
        result = run_down(session, volumes=volumes)
    if as_json:
        stopped = list(result.stopped)
        console.json({"schema_version": 1, "stopped": stopped, "removed_volumes": result.removed_volumes})
    elif result.stopped:
        console.result(f"stopped {', '.join(result.stopped)}")
    else:
        console.result(f"project `{session.project}`: nothing was running")
