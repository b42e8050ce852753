"""`stack report`."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from stack.cli.options import JSON, open_session, project_options
from stack.console import Console


@click.command("report")
@click.argument("run")
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Where the page goes, - for standard output; without it a file here, unless --junit or --json is given",
)  # fmt: skip
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="Write JUnit XML of the checks there")
@JSON
@project_options
@click.pass_obj
def command(
    console: Console,
    config_path: Path | None,
    project: str | None,
    run: str,
    output: Path | None,
    junit: Path | None,
    as_json: bool,
) -> None:
    """Write a run as one HTML page that needs nothing beside it.

    RUN is `last`, `boot-12`, `smoke-8`, `replay-3`, or `12` for boot 12; `stack history` lists them. The page shows the
    commit and what it rests on, then checks, phases beside those of the boot before, args, host and stack.lock.
    """
    from stack.operations.history.document import build_run_document
    from stack.operations.history.report import render_html, render_xml
    from stack.operations.history.runs import find_run
    from stack.operations.write import write_whole

    if as_json and str(output) == "-":
        raise click.UsageError("--json and `--output -` both want standard output")
    session = open_session(console, config_path, {"project": project})
    detail = find_run(session, run)
    if output is None and junit is None and not as_json:
        output = Path(f"stack-{session.project}-{detail.entry.name}.html")
    # Paths are the result, unless the page or the document is.
    tell = console.info if as_json or str(output) == "-" else console.result
    if output is not None:
        page = render_html(detail, now=datetime.datetime.now(datetime.UTC))
        if str(output) == "-":
            console.result(page, end="")
        else:
            write_whole(output, page)
            tell(str(output))
    if junit is not None:
        write_whole(junit, render_xml(detail))
        tell(str(junit))
    if as_json:
        console.json(build_run_document(detail))
