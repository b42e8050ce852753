"""`stack doctor`."""

from __future__ import annotations

from pathlib import Path

import click

from stack.cli.options import JSON, open_session, project_options
from stack.console import Console
from stack.errors import HostError


@click.command("doctor")
@click.option("--gpu-test", is_flag=True, help="Also allocate memory on the GPU, in the engine's image")
@JSON
@project_options
@click.pass_obj
def command(console: Console, config_path: Path | None, as_json: bool, project: str | None, gpu_test: bool) -> None:
    """Check whether `up` would work on this machine; exit code 0 if so, else 3. Changes nothing."""
    from stack.operations.doctor import run_doctor
    from stack.operations.doctor_report import build_document, render_lines

    session = open_session(console, config_path, {"project": project})
    doctor = run_doctor(session)
    if as_json:
        console.json(build_document(doctor))
    else:
        console.result("\n".join(render_lines(doctor)))
    if not doctor.would_work:
        raise click.exceptions.Exit(HostError.exit_code)
