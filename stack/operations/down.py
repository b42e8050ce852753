"""`stack down`: stop the stack and keep what must outlive it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import docker

from stack.assets import asset_path
from stack.containers.compose import ComposeProject
from stack.containers.daemon import ServiceState, read_log, read_services
from stack.errors import CommandError
from stack.operations.project import load_facts, write_facts, write_whole
from stack.operations.session import Session, check_tools, hold_project
from stack.progress import ProgressEvent

KEPT_LOGS = 20
_LOG_PREFIX = "engine-"


@dataclass(frozen=True)
class DownResult:
    """What `down` did.

    Attributes:
        stopped: The services whose containers were removed.
        removed_volumes: Whether the project's own volumes were removed.
    """

    stopped: tuple[str, ...]
    removed_volumes: bool


def run_down(session: Session, *, volumes: bool) -> DownResult:
    """Remove the project's containers and networks, and on request its volumes; never the shared models."""
    client = check_tools(session)
    if not session.paths.state.is_dir() and not read_services(client, session.project):
        return DownResult((), removed_volumes=False)
    with hold_project(session, "down"):
        states = read_services(client, session.project)
        engine = states.get("engine")
        if engine is not None:
            _keep_log(session, client, engine)
        session.report(ProgressEvent("down", "stopping " + (", ".join(states) or "what is left")))
        build_minimal_project(session).down(volumes=volumes)
        if session.paths.facts.is_file():
            facts = load_facts(session.paths.facts)
            write_facts(session.paths.facts, replace(facts, ready_container=None))
        session.report(ProgressEvent("down", "stopped", state="done"))
    return DownResult(tuple(states), volumes)


def _keep_log(session: Session, client: docker.DockerClient, engine: ServiceState) -> None:
    """Keep what goes with the container: the follower of `up` kept the boot's part only."""
    try:
        text = read_log(client, engine.container_id)
    except CommandError as err:
        session.say(f"the engine's log is not kept: {err.message}")
        return
    write_whole(session.paths.boots / f"{_LOG_PREFIX}{engine.container_id[:12]}.log", text, mode=0o600)
    kept = sorted(session.paths.boots.glob(f"{_LOG_PREFIX}*.log"), key=lambda path: path.stat().st_mtime)
    for path in kept[:-KEPT_LOGS]:
        path.unlink(missing_ok=True)


def build_minimal_project(session: Session) -> ComposeProject:
    """Give a Compose project that can be taken down even where the rendered override is gone or damaged."""
    files = [asset_path("compose", name) for name in ("compose.yaml", "compose.gateway.yaml")]
    override = session.paths.state / "down.json"
    names = ("engine", "prometheus", "grafana", "node-exporter", "gateway")
    session.paths.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    override.write_text(json.dumps({"services": {name: {"image": "none"} for name in names}}))
    return ComposeProject([*files, override], session.project, session.paths.state)
