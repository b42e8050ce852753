"""`stack rollback`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from stack.cli.options import JSON, open_session, project_options
from stack.console import Console
from stack.errors import EXIT_CHECK_FAILED


@click.command("rollback")
@click.option("--list", "show", is_flag=True, help="List what can be gone back to, and change nothing")
@click.option("--to", "asked", metavar="N|COMMIT", help="Which one, by its number in the list or its commit")
@JSON
@project_options
@click.pass_obj
def command(
    console: Console, config_path: Path | None, as_json: bool, project: str | None, show: bool, asked: str | None
) -> None:
    """Return to the last engine that passed smoke and is not the present one, without a network.

    stack.lock becomes what it was then; the engine is booted and tested. What is missing on this machine is told before
    anything is stopped. Works also when the present engine does not boot.
    """
    if show and asked is not None:
        raise click.UsageError("--list and --to exclude one another")
    session = open_session(console, config_path, {"project": project, "offline": True})
    if show:
        _list(console, session, as_json)
    else:
        _go_back(console, session, asked, as_json)


def _list(console: Console, session: Any, as_json: bool) -> None:
    from stack.operations.upgrade.rollback import describe_lock, list_candidates

    found = list_candidates(session)
    if as_json:
        console.json({"schema_version": 1, "locks": [describe_lock(item) | {"engine": place} for item, place in found]})
    elif found:
        header = ("", "version", "commit", "model revision", "passed smoke (UTC)", "engine")
        console.table([_build_row(item, place) for item, place in found], header)
    else:
        console.result("no other lock than the present one has passed smoke on this machine")


def _build_row(item: Any, place: str) -> tuple[object, ...]:
    passed = item.passed
    commit, revision = (passed.commit or "unknown")[:12], (passed.revision or "none").removeprefix("sha256:")[:12]
    return (item.number, passed.version or "unknown", commit, revision, f"{passed.passed_at:%Y-%m-%d %H:%M}", place)


def _go_back(console: Console, session: Any, asked: str | None, as_json: bool) -> None:
    from stack.operations.upgrade.rollback import build_document, describe_candidate, run_rollback

    with console.live():
        result = run_rollback(session, asked)
    for warning in result.warnings:
        console.warn(warning)
    if as_json:
        console.json(build_document(result))
    else:
        took = f" in {result.boot_seconds:.0f} s" if result.boot_seconds is not None else ""
        console.result(f"back{took}: {describe_candidate(result.candidate)}")
        for change in result.candidate.changes:
            console.result(f"  {change.what}: {change.before or 'none'} -> {change.after or 'none'}")
        console.result(f"  smoke {'fails now: ' + ', '.join(result.failed) if result.failed else 'passes'}")
    if result.failed:
        raise click.exceptions.Exit(EXIT_CHECK_FAILED)
