"""`stack events`."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import click

from stack.cli.options import JSON_LINES, Age, open_session, project_options
from stack.console import Console


@click.command("events")
@click.option("-f", "--follow", is_flag=True, help="Go on as things happen, until interrupted")
@click.option("--since", type=Age(), default="1h", show_default=True, help="How far to look back: 90s, 10m, 2h, 1d")
@JSON_LINES
@project_options
@click.pass_obj
def command(
    console: Console,
    config_path: Path | None,
    project: str | None,
    follow: bool,
    since: datetime.timedelta,
    as_json: bool,
) -> None:
    """Show starts, ends, restarts, health changes, memory kills and alerts.

    Of the past, Docker tells its last events (a few minutes of them) and each container's last start and end.
    """
    from stack.operations.events import build_event_document, follow_events, read_events, render_event

    session = open_session(console, config_path, {"project": project})
    look = follow_events if follow else read_events
    for happening in look(session, since=since, now=_utc_now):
        console.result(json.dumps(build_event_document(happening)) if as_json else render_event(happening))


def _utc_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
