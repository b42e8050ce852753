"""`stack history`."""

from __future__ import annotations

import datetime
import os
import shutil
import sys
from pathlib import Path

import click

from stack.cli.options import JSON, Age, open_session, project_options
from stack.console import Console

# Before every history, and within what a date can be.
_LONGEST = datetime.timedelta(days=36500)


@click.command("history")
@click.argument("run", required=False)
@click.option("--limit", type=click.IntRange(1, 100_000), default=20, show_default=True, help="How many at most")
@click.option("--since", type=Age(), help="Only what began so long ago or later: 10m, 2h, 7d")
@click.option("--commit", metavar="DIGITS", help="Only of the vLLM commit that begins so")
@click.option("--model", metavar="NAME", help="Only of models with this in their id; NAME@REVISION for a revision")
@click.option("--kind", metavar="KIND", help="Only boot, smoke, replay or upgrade; smokes stand beside boots otherwise")
@JSON
@project_options
@click.pass_obj
def command(
    console: Console,
    config_path: Path | None,
    project: str | None,
    run: str | None,
    limit: int,
    since: datetime.timedelta | None,
    commit: str | None,
    model: str | None,
    kind: str | None,
    as_json: bool,
) -> None:
    """Show what was booted and tested, on which commit, model and host, and with which result.

    The newest come first. With RUN (`last`, `boot-12`, `smoke-8`, or `12` for boot 12) one run is shown in full.
    """
    from stack.history.query import Wanted
    from stack.operations.history.document import build_list_document, build_run_document
    from stack.operations.history.runs import find_kinds, find_run, list_entries
    from stack.operations.history.table import render_run, render_table

    if run is not None and (since or commit or model or kind):
        raise click.UsageError("RUN goes with no filter")
    session = open_session(console, config_path, {"project": project})
    if run is not None:
        detail = find_run(session, run)
        console.json(build_run_document(detail)) if as_json else console.result("\n".join(render_run(detail)))
        return
    now = datetime.datetime.now(datetime.UTC)
    began = now - min(since, _LONGEST) if since else None
    entries = list_entries(session, Wanted(limit, began, commit, model, kind))
    if as_json:
        console.json(build_list_document(session.project, entries))
    elif entries:
        console.result("\n".join(render_table(entries, width=_read_width(), now=now)))
    else:
        kinds = ", ".join(find_kinds(session))
        nothing = "nothing ever ran here; `stack up` is the first run"
        console.info(f"no run is like that; the history has: {kinds}" if kinds else nothing)


def _read_width() -> int | None:
    if not sys.stdout.isatty() and "COLUMNS" not in os.environ:
        return None
    return shutil.get_terminal_size((80, 24)).columns
