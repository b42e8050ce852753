"""`stack smoke`."""

from __future__ import annotations

from pathlib import Path

import click

from stack.cli.options import JSON, open_session, project_options
from stack.console import Console
from stack.errors import EXIT_CHECK_FAILED


@click.command("smoke")
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="Write a JUnit XML report there, too")
@click.option("--new-baseline", is_flag=True, help="Hold later runs against this one's likelihoods, not earlier ones'")
@JSON
@project_options
@click.pass_obj
def command(
    console: Console,
    config_path: Path | None,
    as_json: bool,
    project: str | None,
    junit: Path | None,
    new_baseline: bool,
) -> None:
    """Test whether the running stack answers correctly; exit code 1 if any check failed."""
    from stack.checks.report import build_document, render_junit, render_lines
    from stack.operations.smoke.run import run
    from stack.operations.write import write_whole

    session = open_session(console, config_path, {"project": project})
    with console.live():
        report = run(session, begins_baseline=new_baseline)
    if junit is not None:
        write_whole(junit, render_junit(report))
    if as_json:
        console.json(build_document(report))
    else:
        console.result("\n".join(render_lines(report)))
    if not report.is_passed:
        raise click.exceptions.Exit(EXIT_CHECK_FAILED)
