"""`stack upgrade`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from stack.cli.options import JSON, open_session, project_options, target_options
from stack.console import Console
from stack.errors import EXIT_CHECK_FAILED


@click.command("upgrade")
@click.argument("target")
@target_options
@click.option("--anyway", is_flag=True, help="Try an image that does not fit this machine")
@click.option(
    "--records",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Requests to send to both engines, as `stack replay` takes them, instead of the built-in ones",
)
@click.option("--keep", is_flag=True, help="Keep the new engine if it boots, whatever the comparison says")
@click.option("--rollback", is_flag=True, help="Bring the old engine back, whatever the comparison says")
@click.option("--yes", is_flag=True, help="Do not ask before the service is taken away")
@JSON
@project_options
@click.pass_obj
def command(
    console: Console,
    config_path: Path | None,
    as_json: bool,
    project: str | None,
    target: str,
    device: str | None,
    accept: str | None,
    keep: bool,
    rollback: bool,
    yes: bool,
    **options: Any,
) -> None:
    """Try another engine, and keep it only if it does what the old one did.

    TARGET is what `stack pin` takes. The new engine's image is fetched while the old one serves; then both are measured
    in the same way: smoke, recorded requests, the likelihood of fixed texts, metrics, boot phases and a short load. The
    new one is kept, or the old one comes back by itself; stack.lock is written when the new one is kept, not before.

    Exit code 1: the new engine was found wanting, and the old one is back.
    """
    from stack.operations.upgrade.run import UpgradeOptions, run_upgrade

    if keep and rollback:
        raise click.UsageError("--keep and --rollback exclude one another")
    if not yes and not sys.stdin.isatty():
        raise click.UsageError(
            "the service will be away while the engine is changed, and nobody can be asked: add --yes"
        )
    session = open_session(console, config_path, {"project": project, "engine.device": device, "engine.accept": accept})
    chosen = UpgradeOptions(force="keep" if keep else "rollback" if rollback else None, **options)
    with console.live():
        result = run_upgrade(session, target, chosen, confirm=lambda question: yes or console.confirm(question))
    _print(console, result, as_json)
    if result.has_failed:
        raise click.exceptions.Exit(EXIT_CHECK_FAILED)


def _print(console: Console, result: Any, as_json: bool) -> None:
    from stack.operations.upgrade.result import build_document, build_rows, describe_outcome

    for warning in result.warnings:
        console.warn(warning)
    if as_json:
        console.json(build_document(result))
        return
    console.result(describe_outcome(result))
    rows = build_rows(result)
    if rows:
        console.result("")
        console.table(rows, ("", "old", "new", ""))
