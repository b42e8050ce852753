"""`stack warm`."""

from __future__ import annotations

from pathlib import Path

import click

from stack.cli.options import JSON, MODEL, OFFLINE, REVISION, open_session, project_options
from stack.console import Console, format_bytes


@click.command("warm")
@MODEL
@REVISION
@click.option("--verify", is_flag=True, help="Hash every file again, and fetch anew what is damaged")
@click.option(
    "--prune",
    "prune_others",
    is_flag=True,
    help="Remove models from the shared volume that no container and no lock uses",
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
    model: str | None,
    revision: str | None,
    verify: bool,
    prune_others: bool,
) -> None:
    """Bring the model to the shared volume, whole and checked, and read it into memory."""
    from stack.operations.warm import run_warm

    flags = {"project": project, "model.id": model, "model.revision": revision, "offline": offline}
    session = open_session(console, config_path, flags)
    with console.live():
        result = run_warm(session, verify=verify, prune_others=prune_others)
    snapshot = result.snapshot
    if as_json:
        console.json(
            {
                "schema_version": 1,
                "model": snapshot.id,
                "revision": snapshot.revision,
                "path": str(snapshot.path),
                "size_bytes": snapshot.size_bytes,
                "verified_files": result.verified_files,
                "pruned": [{"path": str(item.path), "size_bytes": item.size_bytes} for item in result.pruned],
            }
        )
        return
    console.result(f"{snapshot.id} @ {snapshot.revision}")
    console.result(f"{snapshot.path} ({format_bytes(snapshot.size_bytes)}, {len(snapshot.files)} files)")
    if verify:
        console.result(f"{result.verified_files} files have the hashes that they should have")
    for item in result.pruned:
        console.result(f"removed {item.what} ({format_bytes(item.size_bytes)})")
