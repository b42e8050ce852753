"""`stack replay`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from stack.cli.options import JSON, FiniteRange, open_session, project_options
from stack.console import Console
from stack.errors import EXIT_CHECK_FAILED, EXIT_INTERRUPTED

_TABLE_ROWS = 40
_ABOVE_0 = FiniteRange(min=0, min_open=True)
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("replay")
@click.argument("path", metavar="FILE", type=_FILE)
@click.option("--speed", type=_ABOVE_0, help="Send so many times as fast as recorded")
@click.option("--concurrency", type=click.IntRange(1, 512), help="Keep so many under way, whatever the offsets")
@click.option("--served-model", help="Send all under this model name [default: only names not served here]")
@click.option(
    "--scores/--no-scores",
    "asks_scores",
    default=True,
    show_default=True,
    help="Ask for log-probabilities where that changes no answer; without them near ties cannot be told",
)
@click.option("--save-responses", "save_path", type=_FILE, help="Write requests and answers there")
@click.option("--max-latency-ratio", type=_ABOVE_0, help="A median answer slower than that is a difference")
@click.option("--timeout-seconds", type=_ABOVE_0, default=600, show_default=True, help="For a whole answer")
@click.option("--with-texts", is_flag=True, help="Show the texts where they part, in the JSON document")
@JSON
@project_options
@click.pass_obj
def command(console: Console, config_path: Path | None, project: str | None, as_json: bool, **asked: Any) -> None:
    """Send the recorded requests of FILE to the running engine and compare the answers.

    Exit code 1 on a difference. FILE is OpenAI batch JSONL; a line may also hold `offset_seconds` (its arrival),
    `hang_up_seconds` (when its client left) and the recorded `response`. Prompts and answers are shown only with
    --with-texts.
    """
    if asked["speed"] is not None and asked["concurrency"] is not None:
        raise click.UsageError("--speed follows the offsets and --concurrency ignores them: choose one")
    from stack.operations.replay.options import ReplayOptions
    from stack.operations.replay.report import render_lines, render_rows
    from stack.operations.replay.run import run

    session = open_session(console, config_path, {"project": project})
    with console.live():
        document = run(session, ReplayOptions(**asked))
    if as_json:
        console.json(document)
    else:
        header, rows = render_rows(document, _TABLE_ROWS)
        if rows:
            console.table(rows, header)
            console.result("")
        console.result("\n".join(render_lines(document)))
    if document["is_interrupted"]:
        raise click.exceptions.Exit(EXIT_INTERRUPTED)
    if not document["is_passed"]:
        raise click.exceptions.Exit(EXIT_CHECK_FAILED)
