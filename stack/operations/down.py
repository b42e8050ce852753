"""`stack down`: stop the stack and keep what must outlive it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from stack.assets import asset_path
from stack.containers.compose import ComposeProject
from stack.containers.daemon import read_services
from stack.containers.one_shot import remove_leftovers
from stack.errors import StackError
from stack.operations.logs.keep import keep_engine_log
from stack.operations.project import load_facts, write_facts
from stack.operations.session import Session, check_tools, hold_project
from stack.progress import ProgressEvent


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
            keep_engine_log(session, client, engine)
        session.report(ProgressEvent("down", "stopping " + (", ".join(states) or "what is left")))
        # They are on the project's networks, which could not be removed under them.
        remove_leftovers(client, session.project)
        build_minimal_project(session).down(volumes=volumes)
        _forget_readiness(session)
        session.report(ProgressEvent("down", "stopped", state="done"))
    return DownResult(tuple(states), volumes)


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
