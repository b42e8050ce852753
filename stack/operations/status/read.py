"""What runs now: services, URLs, the engine's identity and model, the last boot and smoke.

Containers and identity are Docker's word; only the boot's phases and the smoke's verdict come from the history.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import docker

from stack.config.lock import Lock
from stack.containers.daemon import ServiceState, read_image
from stack.containers.layout import SERVICES
from stack.containers.ownership import Foreign, Found, read_attributes, sort_containers
from stack.errors import StackError
from stack.history.records import BootRecord, SmokeRecord
from stack.history.store import History
from stack.operations.access import API_KEY, GRAFANA_PASSWORD, read_secret
from stack.operations.project import ProjectFacts, load_facts
from stack.operations.session import Session, load_project_lock
from stack.operations.status.engine import EngineStatus, read_engine

_PUBLISHED = ("engine", "prometheus", "alertmanager", "grafana", "gateway")


@dataclass(frozen=True)
class ServiceStatus:
    """One service.

    Attributes:
        name: Its name.
        state: The container's state.
        health: Its health check's word, or None.
        url: Where it answers on this machine, or None.
        image: The image as Compose was told it.
        digest: The image's digest, or None where it has none here.
        restarts: Restarts by Docker since the container was started.
        exit_code: The last exit status; None while it runs.
        was_oom_killed: Whether the kernel killed it, or a process of it, for memory.
        started_at: When it was last started, ISO 8601 in UTC, or None.
    """

    name: str
    state: str
    health: str | None
    url: str | None
    image: str | None
    digest: str | None
    restarts: int = 0
    exit_code: int | None = None
    was_oom_killed: bool = False
    started_at: str | None = None


@dataclass(frozen=True)
class Status:
    """What runs now.

    Attributes:
        project: The Compose project.
        services: Its services.
        engine: What the engine's container is, or None where there is none.
        boot: The engine's last boot, or None.
        smoke: The last smoke run of that boot, or None.
        states: The containers, by service.
        facts: This machine's small facts.
        lock: The lock.
        found: The containers with the daemon's documents of them, by service.
        foreign: Containers that bear the project's name and are not the project's.
        images: The daemon's documents of the containers' images, by image ID.
    """

    project: str
    services: tuple[ServiceStatus, ...]
    engine: EngineStatus | None
    boot: BootRecord | None
    smoke: SmokeRecord | None
    states: Mapping[str, ServiceState]
    facts: ProjectFacts
    lock: Lock
    found: Mapping[str, Found] = field(default_factory=dict)
    foreign: tuple[Foreign, ...] = ()
    images: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def is_serving(self) -> bool:
        """Tell whether the engine runs."""
        return any(service.name == "engine" and service.state == "running" for service in self.services)

    @property
    def served_name(self) -> str | None:
        """Give what clients write as `model`."""
        return self.engine.served_name if self.engine is not None else None

    @property
    def ports(self) -> dict[str, int]:
        """Give the host's port of each published service: its container's, else the remembered one."""
        told = {name: state.host_port for name, state in self.states.items() if state.host_port is not None}
        return dict(self.facts.ports) | told


def read_status(session: Session, client: docker.DockerClient | None = None) -> Status:
    """Read what runs now; `read_verdict` says what that amounts to.

    Args:
        session: The run.
        client: A connection to the daemon, where there is one already.

    Raises:
        HostError: The daemon does not answer.
    """
    client = client or session.connect()
    found, foreign = sort_containers(read_attributes(client, session.project), session.project, session.paths.state)
    states = {name: item.state for name, item in found.items()}
    images = {state.image_id: read_image(client, state.image_id) or {} for state in states.values()}
    facts = load_facts(session.paths.facts)
    boot, smoke = _read_history(session, facts)
    engine = found.get("engine")
    return Status(
        project=session.project,
        services=tuple(
            _build_service(session, states[name], facts, images[states[name].image_id])
            for name in SERVICES
            if name in states
        ),
        engine=read_engine(session, engine, images[engine.state.image_id], boot) if engine is not None else None,
        boot=boot,
        smoke=smoke,
        states=states,
        facts=facts,
        lock=load_project_lock(session),
        found=found,
        foreign=foreign,
        images=images,
    )


def read_secrets(session: Session) -> dict[str, str]:
    """Give the generated secrets by name; what is shown only when it was asked for."""
    found = {}
    for name in (API_KEY, GRAFANA_PASSWORD):
        path = session.paths.secrets / name
        if path.is_file():
            found[name] = read_secret(path)
    return found


def find_digest(image: str, repo_digests: Sequence[str]) -> str | None:
    """Give the digest that an image was started with, else one that it was pulled by."""
    named = image.partition("@")[2]
    digests = [item.partition("@")[2] for item in repo_digests]
    return named or next(iter(digests), None)


def _read_history(session: Session, facts: ProjectFacts) -> tuple[BootRecord | None, SmokeRecord | None]:
    if facts.last_boot is None or not session.paths.history.is_file():
        return None, None
    # Not `open_history`: that checks and mends the file, and this only looks.
    history = History(session.paths.history)
    try:
        boot = history.load_boot(facts.last_boot)
        return boot, history.last_smoke(boot.id) if boot is not None else None
    except StackError as err:
        session.say(f"the last boot and smoke are not known: {err.message}")
        return None, None


def _build_service(
    session: Session, state: ServiceState, facts: ProjectFacts, image: Mapping[str, Any]
) -> ServiceStatus:
    # What `docker load` brought has no digest any more; the ID that was seen behind it tells.
    seen = [name for name, image_id in facts.image_ids.items() if image_id == state.image_id and "@" in name]
    return ServiceStatus(
        name=state.name,
        state=state.state,
        health=state.health,
        url=_build_url(session, state, facts),
        image=state.image,
        digest=find_digest(state.image, [*(image.get("RepoDigests") or []), *seen]),
        restarts=state.restart_count,
        exit_code=None if state.state in ("running", "paused", "created") else state.exit_code,
        was_oom_killed=state.was_oom_killed,
        started_at=state.started_at.isoformat(timespec="seconds") if state.started_at else None,
    )


def _build_url(session: Session, state: ServiceState, facts: ProjectFacts) -> str | None:
    port = state.host_port or facts.ports.get(state.name)
    if state.name not in _PUBLISHED or port is None:
        return None
    gateway = session.config.services.gateway
    address = gateway.address if state.name == "gateway" else "127.0.0.1"
    scheme = "https" if state.name == "gateway" and gateway.certificate_file else "http"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
