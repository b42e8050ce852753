"""`stack down`: stop the stack and keep what must outlive it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import docker

from stack.assets import asset_path
from stack.containers.compose import ComposeProject
from stack.containers.daemon import ServiceState, read_log, read_services
from stack.containers.one_shot import remove_leftovers
from stack.errors import StackError
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
        # They are on the project's networks, which could not be removed under them.
        remove_leftovers(client, session.project)
        build_minimal_project(session).down(volumes=volumes)
        _forget_readiness(session)
        session.report(ProgressEvent("down", "stopped", state="done"))
    return DownResult(tuple(states), volumes)


def _keep_log(session: Session, client: docker.DockerClient, engine: ServiceState) -> None:
    """Keep what goes with the container: the follower of `up` kept the boot's part only."""
    path = session.paths.boots / f"{_LOG_PREFIX}{engine.container_id[:12]}.log"
    try:
        write_whole(path, read_log(client, engine.container_id), mode=0o600)
    except StackError as err:
        # What frees memory and ports must not wait for a disk that is full.
        session.say(f"the engine's log is not kept: {err.message}")
        return
    # The clock may have been set back since older ones were written: the newest is the one from just now.
    older = [other for other in session.paths.boots.glob(f"{_LOG_PREFIX}*.log") if other != path]
    older.sort(key=lambda other: other.stat().st_mtime)
    for other in older[: -(KEPT_LOGS - 1)]:
        other.unlink(missing_ok=True)


def _forget_readiness(session: Session) -> None:
    if not session.paths.facts.is_file():
        return
    facts = load_facts(session.paths.facts)
    try:
        write_facts(session.paths.facts, replace(facts, ready_container=None))
    except StackError as err:
        # It names a container that is gone: nothing takes another one for it.
        session.say(err.message)


def build_minimal_project(session: Session) -> ComposeProject:
    """Give a Compose project that can be taken down even where the rendered override is gone or damaged."""
    files = [asset_path("compose", name) for name in ("compose.yaml", "compose.gateway.yaml", "compose.down.yaml")]
    return ComposeProject(files, session.project, session.paths.state)
