"""`stack dashboards`."""

from __future__ import annotations

from pathlib import Path

import click

from stack.cli.options import JSON, open_session, project_options
from stack.console import Console
from stack.errors import EXIT_CHECK_FAILED


@click.group("dashboards")
def command() -> None:
    """Check dashboards, rules and alerts against what an engine exports."""


@command.command("check")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--engine", help="Engine whose /metrics decides, as a URL; this project's if it runs")
@click.option("--prometheus", help="Prometheus that runs every query, as a URL; this project's if it runs")
@click.option(
    "--inventory", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Kept inventory of an engine"
)
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="Write a JUnit XML report there, too")
@click.option("--strict", "is_strict", is_flag=True, help="Fail, too, for a query that is empty without a known reason")
@JSON
@project_options
@click.pass_obj
def check(
    console: Console,
    config_path: Path | None,
    project: str | None,
    paths: tuple[Path, ...],
    engine: str | None,
    prometheus: str | None,
    inventory: Path | None,
    junit: Path | None,
    is_strict: bool,
    as_json: bool,
) -> None:
    """Check PATHs (Grafana JSON, rule files, folders of them), else this stack's own; exit code 1 on an error.

    Without an engine, a Prometheus or an inventory, names are held against the shipped inventory of
    the version that is pinned or configured, or the nearest one's; of the newest where nothing is.
    """
    from stack.checks.report import render_junit
    from stack.operations.dashboards.check import check_dashboards
    from stack.operations.dashboards.report import build_document, build_report, render_lines
    from stack.operations.write import write_whole

    session = open_session(console, config_path, {"project": project})
    checked = check_dashboards(
        session, paths, engine=engine, prometheus=prometheus, inventory=inventory, is_strict=is_strict
    )
    if junit is not None:
        write_whole(junit, render_junit(build_report(checked), "stack dashboards check"))
    if as_json:
        console.json(build_document(checked))
    else:
        console.result("\n".join(render_lines(checked)))
    if not checked.is_passed:
        raise click.exceptions.Exit(EXIT_CHECK_FAILED)


@command.command("inventory")
@click.option("--engine", help="Engine to ask, as a URL; this project's if it runs")
@click.option("--version", help="Version to write into the document; what the engine says it is, if not given")
@click.option("--commit", help="Its commit, where it is known")
@project_options
@click.pass_obj
def inventory(
    console: Console,
    config_path: Path | None,
    project: str | None,
    engine: str | None,
    version: str | None,
    commit: str | None,
) -> None:
    """Print what an engine exports (names, types, labels, bounds) as JSON, for `check --inventory`."""
    from stack.operations.dashboards.check import fetch_engine_inventory
    from stack.telemetry.contract.inventory import render_inventory

    session = open_session(console, config_path, {"project": project})
    found, said = fetch_engine_inventory(session, engine)
    console.result(render_inventory(found, version=version or said, commit=commit), end="")
