"""`stack up`: from a configuration to a served, watched and tested model, doing only what is missing."""

from __future__ import annotations

import datetime

import docker

from stack.config.host_paths import check_host_paths
from stack.errors import ConfigError
from stack.operations.doctor.preflight import check_preflight
from stack.operations.history.open import open_project_history
from stack.operations.images.identify import check_known_identity
from stack.operations.images.resolve import build_lock_key
from stack.operations.layout.decide import check_engine, check_model
from stack.operations.layout.engine import engine_uid
from stack.operations.offline import demand_here
from stack.operations.pin.lock import find_fading
from stack.operations.ports import check_asked_ports, describe_moves, find_owner_by
from stack.operations.project import make_folders
from stack.operations.resolve import Resolved, resolve
from stack.operations.session import Session, check_tools, hold_project
from stack.operations.up.fit import check_fit
from stack.operations.up.missing import build_plan
from stack.operations.up.outcome import UpResult
from stack.operations.up.plan import render_plan
from stack.operations.up.steps import UpRun
from stack.operations.up.timeline import Timeline
from stack.operations.upgrade.leftover import clear_trial


def run_up(session: Session, *, dry_run: bool = False, anyway: bool = False) -> UpResult:
    """Bring the stack up to what the configuration says; the smoke test is the caller's next step.

    Args:
        session: The run.
        dry_run: Whether to find out only what would be done, and whether this machine would let it be done.
        anyway: Whether to go on with an engine image that does not fit this machine.

    Raises:
        StackError: What failed, after everything that did not depend on it was finished.
    """
    problems = check_host_paths(session.config)
    if problems:
        raise ConfigError(problems)
    client = check_tools(session)
    if dry_run:
        result = _look(session, client)
        result.warnings += _check_host(session, client, result, anyway)
        return result
    with hold_project(session, "up"):
        clear_trial(session)
        timeline = Timeline()
        result = _look(session, client)
        result.timeline = timeline
        for choice in result.resolved.choices:
            session.say(str(choice))
        for move in _describe_moves(session, client, result.resolved):
            session.say(move)
        for service, reason in result.resolved.left_out.items():
            session.say(f"{service} is left out: {reason}")
        if result.plan.steps:
            session.say(render_plan(result.plan))
        result.warnings += _check_host(session, client, result, anyway)
        # Before the steps that may take long; what comes up in them is told then.
        for warning in result.warnings:
            session.warn(warning)
        make_folders(session.paths, engine_uid())
        # One that is damaged or of a newer version is told before anything is started.
        open_project_history(session)
        return UpRun(session, client, result).run()


def _look(session: Session, client: docker.DockerClient) -> UpResult:
    resolved = resolve(session, client)
    check_engine(session, resolved.device)
    demand_here(session.config, resolved)
    check_model(resolved)
    check_known_identity(session, client, resolved)
    check_asked_ports(session.config, resolved.ports, resolved.running, find_owner_by(client))
    warnings = [*resolved.device.warnings, *_find_fading(session, resolved)]
    return UpResult(resolved, build_plan(session, resolved), warnings=warnings)


def _check_host(session: Session, client: docker.DockerClient, result: UpResult, anyway: bool) -> list[str]:
    """Give the warnings of the preflight; where there is nothing to do, there is nothing to look at."""
    if not result.plan.steps:
        return []
    warnings = check_preflight(session, client, result.resolved, anyway=anyway)
    return warnings + check_fit(session, client, result.resolved, anyway=anyway)


def _find_fading(session: Session, resolved: Resolved) -> list[str]:
    """Warn of an image that upstream is about to delete, unless this run or an earlier one keeps it."""
    device, lock, config = resolved.device.device, resolved.lock, session.config
    entry = lock.images.get(build_lock_key("engine", device))
    if config.images.archive is not False or (entry is not None and entry.digest in resolved.archived):
        return []
    fading = find_fading(config, lock, device, datetime.datetime.now(datetime.UTC))
    return [fading] if fading else []


def _describe_moves(session: Session, client: docker.DockerClient, resolved: Resolved) -> list[str]:
    remembered, running = resolved.facts.ports, resolved.running
    return describe_moves(session.config, resolved.ports, remembered, running, find_owner_by(client))
