"""`stack diagnose`."""

from __future__ import annotations

from pathlib import Path

import click

from stack.cli.options import JSON, open_session, project_options
from stack.console import Console

# Long enough for some answers to end, because vLLM counts a request's time in the queue only then, and for a few
# preemptions not to be chance; short enough to wait for.
_SECONDS = 20
# A step of a slow engine takes seconds: what moved in less than this is one instant.
_LEAST_SECONDS = 5


@click.command("diagnose")
@click.option("--engine", metavar="URL", help="Any vLLM's address; this project's engine if not given")
@click.option(
    "--seconds",
    type=click.IntRange(_LEAST_SECONDS, 3600),
    default=_SECONDS,
    show_default=True,
    help="Time between the two looks",
)
@JSON
@project_options
@click.pass_obj
def command(
    console: Console, config_path: Path | None, project: str | None, as_json: bool, engine: str | None, seconds: int
) -> None:
    """Say what limits the engine now, from two looks at its metrics.

    Idle, clients, places in the batch, prefill, decode, KV cache, preemption, admission limits, host CPU or GPU
    clocks: with the figures, the confidence and the setting to change, or that there is not enough evidence.
    """
    from stack.operations.diagnose.report import build_document, render_lines
    from stack.operations.diagnose.run import run

    session = open_session(console, config_path, {"project": project})
    with console.live():
        diagnosed = run(session, engine=engine, seconds=seconds)
    if as_json:
        console.json(build_document(diagnosed))
    else:
        console.result("\n".join(render_lines(diagnosed)))
