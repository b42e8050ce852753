"""`stack pin`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from stack.cli import pin_archive
from stack.cli.options import JSON, OFFLINE, open_session, project_options, target_options
from stack.console import Console, format_bytes
from stack.errors import EXIT_CHECK_FAILED


@click.command("pin")
@click.argument("target", required=False)
@target_options
@click.option("--anyway", is_flag=True, help="Pin what does not fit; prune what only a lock out of reach uses")
@click.option("--show", is_flag=True, help="Show what is pinned, and ask nobody")
@click.option("--check", is_flag=True, help="Tell whether what is pinned can still be had; exit code 1 if not")
@click.option("--archive", is_flag=True, help="Keep the pinned image in the archive on this machine")
@click.option("--verify", is_flag=True, help="Hash everything in the archive; with --archive, mend it")
@click.option("--prune", is_flag=True, help="Drop from the archive what no lock uses")
@click.option("--dry-run", is_flag=True, help="With --prune, only list")
@OFFLINE
@JSON
@project_options
@click.pass_obj
def command(
    console: Console,
    config_path: Path | None,
    as_json: bool,
    project: str | None,
    target: str | None,
    device: str | None,
    accept: str | None,
    offline: bool | None,
    show: bool,
    check: bool,
    archive: bool,
    verify: bool,
    prune: bool,
    dry_run: bool,
    **options: Any,
) -> None:
    """Pin the engine: a commit, release, tag, digest, `nightly` or `latest`, as a digest in stack.lock.

    Nothing is pulled; `stack up` runs what is pinned.
    """
    if show + check + prune + (target is not None or archive or verify) > 1 or (target is not None and verify):
        raise click.UsageError("TARGET, --show, --check, --verify and --prune exclude one another")
    if dry_run and not prune:
        raise click.UsageError("--dry-run goes with --prune")
    flags = {"project": project, "engine.device": device, "engine.accept": accept, "offline": offline}
    session = open_session(console, config_path, flags)
    if show:
        _show(console, session, as_json)
    elif check:
        _check(console, session, as_json)
    elif prune:
        pin_archive.prune(console, session, as_json, dry_run=dry_run, anyway=options["anyway"])
    elif target is None and verify and not archive:
        pin_archive.verify(console, session, as_json)
    else:
        pinned = _pin(console, session, target, as_json, options) if target is not None or not archive else {}
        if archive:
            pin_archive.keep(console, session, as_json, pinned, verify=verify)
        elif as_json:
            console.json(pinned)


def _pin(console: Console, session: Any, target: str | None, as_json: bool, options: dict[str, Any]) -> dict[str, Any]:
    from stack.operations.pin.run import build_document, run_pin

    with console.live():
        result = run_pin(session, target, **options)
    if result.image.source.warning:
        console.warn(f"{result.image.source.title}: {result.image.source.warning}")
    if as_json:
        return build_document(result)
    size = result.image.size_bytes
    rows = [
        *_describe(result.engine, result.entry),
        *([("size", f"{format_bytes(size)} to pull")] if size is not None else []),
        *((item.what, f"{item.verdict}: {item.message}") for item in result.verdict),
        *([("expiry", result.expiry)] if result.expiry else []),
        ("lock", f"{result.lock_path}{'' if result.is_changed else ' (says so already)'}"),
        *(("", f"`{name}` was of another commit and is dropped") for name in result.dropped),
    ]
    _print(console, rows)
    return {}


def _show(console: Console, session: Any, as_json: bool) -> None:
    from stack.operations.pin.check import read_pins
    from stack.operations.pin.run import describe_entry
    from stack.operations.pin.show import describe_build, list_build_rows, read_builds

    engine, entries = read_pins(session)
    builds = read_builds(session)
    if as_json:
        pins = {device: describe_entry(engine, entry) for device, entry in entries.items()}
        for device, build in builds.items():
            pins.setdefault(device, {})["build"] = describe_build(build)
        console.json({"schema_version": 1, "pinned": engine.pinned, "engines": pins, "lock": str(session.lock_path)})
        return
    for device, entry in sorted(entries.items()):
        built = list_build_rows(builds[device]) if device in builds else []
        _print(console, [("device", device), *_describe(engine, entry), *built, ("lock", str(session.lock_path))])


def _check(console: Console, session: Any, as_json: bool) -> None:
    from stack.checks.report import build_document
    from stack.operations.pin.check import run_check

    with console.live():
        report = run_check(session)
    if as_json:
        console.json(build_document(report))
    else:
        for item in report.findings:
            console.result(f"{item.status}  {item.check:<15}  {item.message}")
            if item.hint:
                console.result(f"      {'':<15}  {item.hint}")
    if not report.is_passed:
        raise click.exceptions.Exit(EXIT_CHECK_FAILED)


def _describe(engine: Any, entry: Any) -> list[tuple[str, str]]:
    asked = f"pinned by `stack pin {engine.pinned}`" if engine.pinned else "as `stack up` found it"
    return [
        ("commit", f"{engine.commit or 'unknown'} ({engine.commit_level})"),
        *([("", engine.rests_on)] if engine.rests_on else []),
        ("version", engine.version or "unknown"),
        ("image", entry.reference),
        ("", entry.digest or "built on this machine by `stack up`, so it has no digest"),
        ("source", f"{entry.found_by or entry.source}{f', variant {entry.variant}' if entry.variant else ''}, {asked}"),
    ]


def _print(console: Console, rows: list[tuple[str, str]]) -> None:
    for name, text in rows:
        console.result(f"{name:<8}  {text}")
