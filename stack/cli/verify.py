"""`stack verify`."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from stack.cli.options import JSON, open_session, project_options
from stack.console import Console

# stack/operations/verify/steps.py has them with what they do; `--help` must not load that.
STEP_NAMES = ("up", "smoke", "dashboards", "bench", "engine-killed", "prometheus-killed")
# Those of `stack bench` that a short run can measure.
PRESETS = ("chat", "long-context", "shared-prefix")
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("verify")
@click.option("--report", "page", type=_FILE, help="Write the report there as one HTML page")
@click.option("--junit", type=_FILE, help="Write a JUnit XML report there, too")
@click.option("--preset", type=click.Choice(PRESETS), help="Load of the bench [default: chat]")
@click.option("--skip", multiple=True, type=click.Choice(STEP_NAMES), help="Leave out this step; may be repeated")
@click.option(
    "--faults/--no-faults",
    default=None,
    help="Kill the engine and Prometheus, and see them come back [default: only in a stack that this run brought up]",
)
@click.option("--down", "takes_down", is_flag=True, help="Stop the stack at the end, if this run brought it up")
@JSON
@project_options
@click.pass_obj
def command(
    console: Console,
    config_path: Path | None,
    project: str | None,
    page: Path | None,
    junit: Path | None,
    preset: str | None,
    skip: tuple[str, ...],
    faults: bool | None,
    takes_down: bool,
    as_json: bool,
) -> None:
    """Run the whole chain and judge it: up, smoke, dashboards check, a short bench, two faults, one report.

    A step that fails does not keep back those that can still run. Exit code 1 if a check failed, else that of the first
    step that could not be done: 5 if the engine did not come up.
    """
    from stack.operations.history.report import render_html, render_xml
    from stack.operations.verify.report import load_detail, render_lines
    from stack.operations.verify.run import VerifyOptions, run
    from stack.operations.write import demand_writable, write_whole

    session = open_session(console, config_path, {"project": project})
    for path in (page, junit):
        if path is not None:
            demand_writable(path)
    with console.live():
        document = run(session, VerifyOptions(preset, frozenset(skip), faults, takes_down))
    if as_json:
        console.json(document)
    else:
        console.result("\n".join(render_lines(document)))
    if page is not None or junit is not None:
        detail = load_detail(session, document)
        if page is not None:
            write_whole(page, render_html(detail, now=datetime.datetime.now(datetime.UTC)))
        if junit is not None:
            write_whole(junit, render_xml(detail))
    if document["exit_code"]:
        raise click.exceptions.Exit(document["exit_code"])
