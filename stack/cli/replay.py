"""`stack replay`."""

from __future__ import annotations

from pathlib import Path

import click

from stack.cli.options import JSON, open_session, project_options
from stack.console import Console
from stack.errors import EXIT_CHECK_FAILED, EXIT_INTERRUPTED

_TABLE_ROWS = 40


@click.command("replay")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--speed", type=click.FloatRange(min=0, min_open=True), help="Send so many times as fast as recorded")
@click.option(
    "--concurrency", type=click.IntRange(1, 512), help="Keep so many requests under way, whatever the offsets"
)
@click.option("--served-model", help="Send every request under this model name [default: names not served here only]")
@click.option(
    "--scores/--no-scores",
    default=None,
    help="Ask for log-probabilities where that changes no answer [default: yes, unless latency is judged]",
)
@click.option(
    "--save-responses", type=click.Path(dir_okay=False, path_type=Path), help="Write requests and answers there"
)
@click.option(
    "--max-latency-ratio", type=click.FloatRange(min=0, min_open=True), help="A median beyond that is a difference"
)
@click.option(
    "--timeout-seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    show_default=True,
    help="Give a whole answer so much time",
)
@click.option("--with-texts", is_flag=True, help="Show the texts where they part, in the JSON document")
@JSON
@project_options
@click.pass_obj
def command(
    console: Console,
    config_path: Path | None,
    as_json: bool,
    project: str | None,
    file: Path,
    speed: float | None,
    concurrency: int | None,
    served_model: str | None,
    scores: bool | None,
    save_responses: Path | None,
    max_latency_ratio: float | None,
    timeout_seconds: float,
    with_texts: bool,
) -> None:
    """Send the recorded requests of FILE to the running engine and compare the answers; exit code 1 on a difference.

    FILE is OpenAI batch JSONL. A line may hold `offset_seconds` (its arrival), `hang_up_seconds` (when its client
    left) and the recorded `response`. Prompts and answers are shown only with --with-texts.
    """
    if speed is not None and concurrency is not None:
        raise click.UsageError("--speed follows the offsets and --concurrency ignores them: choose one")
    from stack.operations.replay import ReplayOptions, run
    from stack.operations.replay_report import render_lines, render_rows

    options = ReplayOptions(
        file,
        speed=speed or 1.0,
        concurrency=concurrency,
        served_model=served_model,
        asks_scores=scores,
        timeout_seconds=timeout_seconds,
        max_latency_ratio=max_latency_ratio,
        save_path=save_responses,
        with_texts=with_texts,
    )
    session = open_session(console, config_path, {"project": project})
    with console.live():
        document = run(session, options)
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
