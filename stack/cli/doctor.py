"""`stack doctor`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import click

from stack.cli.options import JSON, OFFLINE, open_session, project_options
from stack.console import Console
from stack.errors import HostError


@click.command("doctor")
@click.option("--gpu-test", is_flag=True, help="Also allocate memory on the GPU, in the engine's image")
@click.option(
    "--estimate", metavar="MODEL", help="Size a model (hub id[@revision], directory, demo) without its weights"
)
@OFFLINE
@JSON
@project_options
@click.pass_obj
def command(
    console: Console,
    config_path: Path | None,
    as_json: bool,
    project: str | None,
    offline: bool | None,
    gpu_test: bool,
    estimate: str | None,
) -> None:
    """Check whether `up` would work on this machine; exit code 0 if so, else 3. Changes nothing.

    What is well is told in a line each; `stack -v doctor` and --json tell all of it.
    """
    flags = {"project": project, "offline": offline}
    if estimate is not None:
        if gpu_test:
            raise click.UsageError("`--estimate` sizes a model and tests no GPU; leave out `--gpu-test`")
        session = open_session(console, config_path, flags)
        _print_estimate(console, session, estimate, as_json)
        return
    from stack.operations.doctor.report import build_document, render_lines
    from stack.operations.doctor.run import run_doctor

    session = open_session(console, config_path, flags)
    doctor = run_doctor(session, is_gpu_tested=gpu_test)
    if as_json:
        console.json(build_document(doctor))
    else:
        width = shutil.get_terminal_size((100, 24)).columns
        console.result("\n".join(render_lines(doctor, width=width, is_long=console.verbosity > 0)))
    if not doctor.would_work:
        raise click.exceptions.Exit(HostError.exit_code)


def _print_estimate(console: Console, session: Any, model: str, as_json: bool) -> None:
    from stack.operations.doctor.estimate import run_estimate
    from stack.operations.doctor.estimate_report import build_document, build_heading, build_rows

    with console.live():
        found = run_estimate(session, model)
    if as_json:
        console.json(build_document(found))
        return
    console.result(build_heading(found))
    console.table(build_rows(found), ("what", "how much", "why"))
