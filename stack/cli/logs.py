"""`stack logs`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from stack.cli.options import JSON_LINES, Moment, open_session, project_options
from stack.console import Console
from stack.containers.layout import SERVICES

_LEVELS = ("debug", "info", "warning", "error", "critical")


class _Boot(click.ParamType):
    name = "BOOT"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> str | int:
        if value in ("all", "last") or isinstance(value, int):
            return value
        number = value.removeprefix("boot-")
        if not number.isdecimal():
            self.fail(f"`{value}` is not a boot's number, `last` or `all`", param, ctx)
        return int(number)


@click.command("logs")
@click.argument("service", type=click.Choice([*SERVICES, "all"]), metavar="[SERVICE]", default="engine")
@click.option("-f", "--follow", is_flag=True, help="Go on as new lines come")
@click.option(
    "-n",
    "--lines",
    "--tail",
    "lines",
    type=click.IntRange(min=1),
    help="Only the last lines, of those that are selected",
)
@click.option("--level", type=click.Choice(_LEVELS), help="Only records of this level and worse ones")
@click.option("--since", type=Moment(), help="Only records from then on: 10m, 2h, 1d ago, or 2026-11-22T14:30")
@click.option("--until", type=Moment(), help="Only records until then, written likewise")
@click.option("--request-id", metavar="ID", help="Only records that name this request")
@click.option("--boot", type=_Boot(), help="Of the engine: a boot's number, `last`, or `all` that are kept")
@click.option("--labels", is_flag=True, help="Put boot, model, commit and known failure before each line")
@JSON_LINES
@project_options
@click.pass_obj
def command(
    console: Console,
    config_path: Path | None,
    project: str | None,
    service: str,
    follow: bool,
    level: str | None,
    labels: bool,
    as_json: bool,
    **asked: Any,
) -> None:
    """Show a service's log; the engine's if none is named, and of an engine that is gone, the log of its last boot.

    SERVICE is a service's name, or `all`. With --since, --until or --request-id every kept boot of the engine is
    looked through, too. A traceback, and any line without a level, belongs to the record before it.

    A request's id is what the client sends as `X-Request-Id`, else one that vLLM makes up; the gateway makes one for
    each request and logs it. vLLM tells ids where `enable-log-requests = true` stands in [engine.args]. The tool never
    sets that: at `log-level = "DEBUG"`, and in old versions always, vLLM then logs prompts, too.
    """
    from stack.operations.logs.render import build_entry_document, render_entry
    from stack.operations.logs.run import ALL, read_entries
    from stack.operations.logs.select import LogQuery

    if follow and asked["until"] is not None:
        raise click.UsageError("--until ends what --follow goes on with; give one of them")
    if asked["boot"] is not None and service not in ("engine", ALL):
        raise click.UsageError(f"--boot is the engine's; of `{service}` there is one log")
    if asked["boot"] is None and (asked["since"] or asked["until"] or asked["request_id"]):
        asked["boot"] = "all"
    query = LogQuery(service=service, level=level and level.upper(), is_labelled=labels or as_json, **asked)
    session = open_session(console, config_path, {"project": project})
    for entry in read_entries(session, query, follow=follow):
        if as_json:
            console.result(json.dumps(build_entry_document(entry, query.request_id)))
        else:
            for text in render_entry(entry, is_labelled=labels, is_named=service == ALL):
                console.result(text)
