"""`stack up`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from stack.cli.options import JSON, MODEL, OFFLINE, REVISION, open_session, project_options
from stack.console import Console
from stack.errors import EXIT_CHECK_FAILED

# Prometheus and Grafana may be a moment behind an engine that boots quickly.
_PATIENCE_SECONDS = 10.0


@click.command("up")
@MODEL
@REVISION
@click.option("--commit", help="vLLM commit, 40 hex digits")
@click.option("--device", type=click.Choice(["auto", "cuda", "cpu"]), help="Where the engine runs")
@click.option("--images", type=click.Choice(["auto", "registry", "packages"]), help="Where images come from")
@click.option("--accept", type=click.Choice(["verified", "claimed"]), help="What proves a pinned commit")
@click.option("--expose", is_flag=True, default=None, help="Let other machines reach /v1 through the gateway")
@click.option("--no-smoke", is_flag=True, default=None, help="Leave out the smoke test")
@click.option("--anyway", is_flag=True, help="Go on with an engine image that does not fit this machine")
@click.option("--dry-run", is_flag=True, help="Print the plan with its reasons, check this machine, change nothing")
@OFFLINE
@JSON
@project_options
@click.pass_obj
def command(
    console: Console,
    config_path: Path | None,
    as_json: bool,
    anyway: bool,
    dry_run: bool,
    no_smoke: bool | None,
    **flags: Any,
) -> None:
    """Bring the stack up: serve, watch and test a model.

    Run it again at any time: it does only what is missing.
    """
    from stack.operations.up.plan import render_plan
    from stack.operations.up.run import run_up

    session = open_session(console, config_path, build_flags(flags, no_smoke))
    with console.live():
        result = run_up(session, dry_run=dry_run, anyway=anyway)
    if dry_run:
        _print_dry_run(console, result, as_json)
        return
    if not result.plan.steps:
        console.info(render_plan(result.plan))
    failed = _finish(console, session, result, as_json)
    # Last: it may move gigabytes, and the service is up and tested.
    _keep(console, session, result)
    if failed:
        raise click.exceptions.Exit(EXIT_CHECK_FAILED)


def _keep(console: Console, session: Any, result: Any) -> None:
    import datetime

    from stack.operations.images.keep import keep_engine

    with console.live():
        warning = keep_engine(session, result.resolved.device.device, datetime.datetime.now(datetime.UTC))
    if warning:
        console.warn(warning)


def build_flags(flags: dict[str, Any], no_smoke: bool | None) -> dict[str, Any]:
    """Give the flags by the configuration's dotted keys."""
    return {
        "project": flags.get("project"),
        "model.id": flags.get("model"),
        "model.revision": flags.get("revision"),
        "offline": flags.get("offline"),
        "engine.commit": flags.get("commit"),
        "engine.device": flags.get("device"),
        "engine.accept": flags.get("accept"),
        "images.source": flags.get("images"),
        "services.gateway.expose": flags.get("expose"),
        "smoke.enabled": False if no_smoke else None,
    }


def _finish(console: Console, session: Any, result: Any, as_json: bool) -> bool:
    from stack.operations.smoke.run import needs_smoke, run
    from stack.operations.status.document import build_document
    from stack.operations.status.judge import UP, describe_reasons
    from stack.operations.status.read import read_status
    from stack.operations.status.summary import render_summary
    from stack.operations.status.verdict import read_verdict
    from stack.operations.up.timeline import build_timeline

    report = None
    if session.config.smoke.enabled and needs_smoke(session, result):
        with console.live(), result.timeline.measure("smoke"):
            report = run(session)
    client = session.connect()
    status = read_status(session, client)
    verdict = read_verdict(session, status, client, patience_seconds=_PATIENCE_SECONDS)
    if as_json:
        console.json(build_document(status, verdict) | {"timeline": build_timeline(result.timeline.steps)})
    else:
        console.result(render_summary(session, status, verdict, result, report))
    if verdict.state != UP:
        # The engine has given a token, so it stays up; what watches it may be broken all the same.
        console.warn(f"the stack is {verdict.state}: {describe_reasons(verdict.reasons)}")
    return status.smoke is not None and not status.smoke.passed


def _print_dry_run(console: Console, result: Any, as_json: bool) -> None:
    from stack.operations.up.plan import render_plan

    if as_json:
        choices = [vars(choice) for choice in result.resolved.choices]
        steps = [vars(step) | {"after": list(step.after)} for step in result.plan.steps]
        left_out = dict(result.resolved.left_out)
        warnings = list(result.warnings)
        document = {"schema_version": 1, "choices": choices, "left_out": left_out, "steps": steps}
        console.json(document | {"warnings": warnings})
        return
    for choice in result.resolved.choices:
        console.result(str(choice))
    for service, reason in result.resolved.left_out.items():
        console.result(f"{service} is left out: {reason}")
    console.result(render_plan(result.plan))
    for warning in result.warnings:
        console.warn(warning)
