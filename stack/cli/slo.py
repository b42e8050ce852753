"""`stack slo`."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from stack.cli.options import JSON, Age, open_session, project_options
from stack.console import Console
from stack.errors import EXIT_CHECK_FAILED

# Longer than anything is kept, and within what a date can be.
_LONGEST_SECONDS = 10 * 365 * 86_400


@click.group("slo")
def command() -> None:
    """Tell how well the objectives of `[slo]` are kept."""


@command.command("report")
@click.option("--since", type=Age(), help="How long the window is: 6h, 7d; that of `[slo]` if not given")
@click.option("--prometheus", metavar="URL", help="Any Prometheus with vLLM's metrics; this project's if not given")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a page of its own there, too")
@JSON
@project_options
@click.pass_obj
def report(
    console: Console,
    config_path: Path | None,
    project: str | None,
    since: datetime.timedelta | None,
    prometheus: str | None,
    html: Path | None,
    as_json: bool,
) -> None:
    """Show availability, latency shares, throughput, errors and the error budget left over a window that ends now.

    Exit code 0 when the objectives were kept or nothing can be said, 1 when one was missed, by a model or by all of
    them together; 6 when Prometheus does not answer.
    """
    from stack.operations.slo.document import build_document
    from stack.operations.slo.page import render_html
    from stack.operations.slo.report import SHORTEST_SECONDS, report_objectives
    from stack.operations.slo.table import render_lines
    from stack.operations.write import write_whole

    seconds = round(since.total_seconds()) if since is not None else None
    if seconds is not None and not SHORTEST_SECONDS <= seconds <= _LONGEST_SECONDS:
        raise click.UsageError("--since takes five minutes (5m) to ten years (3650d)")
    session = open_session(console, config_path, {"project": project})
    found = report_objectives(session, since_seconds=seconds, prometheus=prometheus)
    if html is not None:
        write_whole(html, render_html(found))
    if as_json:
        console.json(build_document(found))
    else:
        console.result("\n".join(render_lines(found)))
    if found.is_kept is False:
        raise click.exceptions.Exit(EXIT_CHECK_FAILED)
