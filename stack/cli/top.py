"""`stack top`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from stack.cli.options import FiniteRange, open_session, project_options
from stack.console import Console

_INTERVAL_SECONDS = 2.0
# The engine's server, which also answers clients, writes a page in some milliseconds.
_LEAST_SECONDS = 0.2


@click.command("top")
@click.option("--engine", metavar="URL", help="Any vLLM's address; this project's engine if not given")
@click.option("--prometheus", metavar="URL", help="Prometheus whose alerts are shown; this project's if it runs")
@click.option(
    "--interval",
    type=FiniteRange(_LEAST_SECONDS, 3600),
    default=_INTERVAL_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="Time between two looks",
)
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N looks")
@click.option("--once", is_flag=True, help="Print what happens in one interval, and end")
@click.option("--plain", is_flag=True, help="Print a line at each look, as where there is no terminal")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document a line; a single one with `--once`")
@project_options
@click.pass_obj
def command(
    console: Console,
    config_path: Path | None,
    project: str | None,
    engine: str | None,
    prometheus: str | None,
    interval: float,
    count: int | None,
    once: bool,
    plain: bool,
    as_json: bool,
) -> None:
    """Watch the engine: requests, tokens, latencies, KV cache, GPUs and alerts, until `q` or Ctrl-C.

    Rates and quantiles are those of the time between two looks at the engine's own metrics; beside them stand the
    quantiles since it started. It goes on while the engine restarts.
    """
    from stack.operations.top.document import build_document
    from stack.operations.top.line import render_line
    from stack.operations.top.rows import build_rows
    from stack.operations.top.run import TopOptions, look_once, watch

    if once and count is not None:
        raise click.UsageError("`--once` and `--count` exclude each other")
    session = open_session(console, config_path, {"project": project})
    options = TopOptions(interval, count, engine, prometheus)
    if once:
        with console.live():
            frame = look_once(session, options)
        if as_json:
            console.json(build_document(frame))
        elif plain:
            console.result(render_line(frame))
        else:
            console.view(frame, build_rows)
    elif as_json or plain or not console.draws_results:
        for frame in watch(session, options):
            console.result(json.dumps(build_document(frame)) if as_json else render_line(frame))
    else:
        console.watch(lambda wait: watch(session, options, wait=wait), build_rows)
