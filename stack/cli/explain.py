"""`stack explain`."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import click

from stack.cli.options import JSON, open_session, project_options
from stack.console import Console
from stack.errors import EXIT_CHECK_FAILED, ConfigError, Problem


@click.command("explain")
@click.argument("logfile", required=False, type=click.Path(allow_dash=True, path_type=Path))
@click.option("--list", "is_list", is_flag=True, help="Show every failure that is known, instead of reading a log")
@click.option("--markdown", "is_markdown", is_flag=True, help="With --list: as a Markdown table")
@JSON
@project_options
@click.pass_obj
def command(
    console: Console,
    config_path: Path | None,
    as_json: bool,
    project: str | None,
    logfile: Path | None,
    is_list: bool,
    is_markdown: bool,
) -> None:
    """Explain a failure from a log: of anybody's vLLM, Docker or the NVIDIA toolkit.

    LOGFILE is a file, or - for standard input; without it the log of the project's last boot that failed is read.
    Exit code 0 when the failure is known, 1 when not: then the first cause in the log is shown.
    """
    from stack.operations.explain import build_document, explain_log, find_failed_log, render_lines

    if is_list or is_markdown:
        _print_list(console, as_json=as_json, is_markdown=is_markdown)
        return
    if logfile is None:
        logfile = find_failed_log(open_session(console, config_path, {"project": project}))
    source = "standard input" if str(logfile) == "-" else str(logfile)
    with _open_log(logfile, source) as log, console.live():
        diagnosis = explain_log(log, console.report)
    if as_json:
        console.json(build_document(diagnosis, source))
    else:
        console.result("\n".join(render_lines(diagnosis, source)))
    if diagnosis.explained is None:
        raise click.exceptions.Exit(EXIT_CHECK_FAILED)


@contextlib.contextmanager
def _open_log(path: Path, source: str) -> Iterator[BinaryIO]:
    try:
        if str(path) == "-":
            yield sys.stdin.buffer
        else:
            with path.open("rb") as log:
                yield log
    except OSError as err:
        problem = Problem("LOGFILE", f"{source}: {err.strerror}")
        raise ConfigError([problem], hint="`stack explain -` reads standard input") from err


def _print_list(console: Console, *, as_json: bool, is_markdown: bool) -> None:
    from stack.operations.explain import build_list_document, render_entries, render_markdown

    if as_json:
        console.json(build_list_document())
    elif is_markdown:
        console.result(render_markdown())
    else:
        console.result("\n".join(render_entries(shutil.get_terminal_size((100, 24)).columns)))
