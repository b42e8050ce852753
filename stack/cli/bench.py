"""`stack bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from stack.cli.options import JSON, FiniteRange, open_session, project_options
from stack.console import Console
from stack.errors import EXIT_CHECK_FAILED, EXIT_INTERRUPTED

_ABOVE_0 = FiniteRange(min=0, min_open=True)
# As in stack.traffic.bench_load, which the help must not import; a test holds them together.
_PRESETS = ("chat", "long-context", "shared-prefix", "soak")


@click.command("bench")
@click.option("--preset", type=click.Choice(_PRESETS), help="The load [default: that of --compare's run, else chat]")
@click.option(
    "--repeats", type=click.IntRange(1, 100), default=3, show_default=True, help="Measure so often; compare takes 3"
)
@click.option(
    "--seconds", type=FiniteRange(1, 86400), default=30, show_default=True, help="About how long a repeat takes"
)
@click.option("--rate", type=_ABOVE_0, help="Requests a second that arrive, answered or not [default: as many as fit]")
@click.option("--sweep", "is_sweep", is_flag=True, help="Raise the rate to the knee, and measure there")
@click.option("--minutes", type=_ABOVE_0, help="How long a soak takes in all [default: 10]")
@click.option("--compare", metavar="RUN", help="Compare with `bench-12`, `last`, or the newest of a commit")
@click.option("--save", "save_path", type=click.Path(dir_okay=False, path_type=Path), help="Write the document there")
@JSON
@project_options
@click.pass_obj
def command(console: Console, config_path: Path | None, project: str | None, as_json: bool, **asked: Any) -> None:
    """Measure the running engine with `vllm bench serve` of its own image, in a container beside it.

    A short probe decides how many requests a repeat takes. Two runs of one preset, model revision and host are
    compared by all pairs of their repeats: faster or slower only where the whole interval says so, else no verdict.
    Exit code 1 where requests failed, where it is slower than the run it is compared with, or where a sweep has no
    knee.
    """
    if asked["is_sweep"] and asked["rate"] is not None:
        raise click.UsageError("--sweep finds the rate and --rate sets it: choose one")
    if asked["minutes"] is not None and asked["preset"] != "soak":
        raise click.UsageError("--minutes is for --preset soak; --seconds is for the others")
    if asked["is_sweep"] and asked["preset"] == "soak":
        raise click.UsageError("--preset soak keeps one rate, and --sweep tries many: choose one")
    from stack.operations.bench.document import HEADER, render_head, render_rows, render_tail
    from stack.operations.bench.run import BenchOptions, run

    session = open_session(console, config_path, {"project": project})
    with console.live():
        document = run(session, BenchOptions(**asked))
    if as_json:
        console.json(document)
    else:
        console.result("\n".join(render_head(document)))
        rows = render_rows(document)
        if rows:
            console.result("")
            console.table(rows, HEADER)
        tail = render_tail(document)
        if tail:
            console.result("\n".join(["", *tail]))
    if document["is_interrupted"]:
        raise click.exceptions.Exit(EXIT_INTERRUPTED)
    if not document["is_passed"]:
        raise click.exceptions.Exit(EXIT_CHECK_FAILED)
