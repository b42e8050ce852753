"""`stack demo`."""

from __future__ import annotations

from pathlib import Path

import click

from stack.cli.options import JSON, FiniteRange, open_session, project_options
from stack.console import Console
from stack.errors import EXIT_CHECK_FAILED, EXIT_INTERRUPTED


@click.command("demo")
@click.option(
    "--minutes",
    type=FiniteRange(0.1, 60),
    default=2,
    show_default=True,
    help="How long, about 10 s of measuring included",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Other texts and other times")
@click.option(
    "--save",
    "save_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the requests there, for `replay`",
)
@JSON
@project_options
@click.pass_obj
def command(
    console: Console,
    config_path: Path | None,
    project: str | None,
    minutes: float,
    seed: int,
    save_path: Path | None,
    as_json: bool,
) -> None:
    """Send mixed traffic to the running engine, and say which panels to look at.

    Chats, shared beginnings, long prompts, a burst that queues, clients that leave and requests that are refused: as
    much as the engine manages. Nothing of it stays. Exit code 1 if requests failed that should not have.
    """
    from stack.operations.demo.report import render_lines, render_rows
    from stack.operations.demo.run import DemoOptions, run

    session = open_session(console, config_path, {"project": project})
    with console.live():
        document = run(
            session,
            DemoOptions(minutes, seed, save_path),
            show=lambda lines: None if as_json else console.result("\n".join(lines)),
        )
    if as_json:
        console.json(document)
    else:
        header, rows = render_rows(document)
        console.table(rows, header)
        console.result("\n" + "\n".join(render_lines(document)))
    if document["is_interrupted"]:
        raise click.exceptions.Exit(EXIT_INTERRUPTED)
    if not document["is_passed"]:
        raise click.exceptions.Exit(EXIT_CHECK_FAILED)
