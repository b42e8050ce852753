"""What runs now: services, URLs, the engine's identity, the model, the last boot and smoke."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import docker

from stack.config.lock import Lock
from stack.containers.daemon import ServiceState, read_image, read_services
from stack.containers.layout import SERVICES
from stack.history.records import BootRecord, SmokeRecord
from stack.history.store import open_history
from stack.operations.access import API_KEY, GRAFANA_PASSWORD
from stack.operations.project import ProjectFacts, load_facts
from stack.operations.session import Session, check_tools, load_project_lock

SCHEMA_VERSION = 1
_PUBLISHED = ("engine", "prometheus", "grafana", "gateway")


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
    """

    name: str
    state: str
    health: str | None
    url: str | None
    image: str | None
    digest: str | None


@dataclass(frozen=True)
class Status:
    """What runs now.

    Attributes:
        project: The Compose project.
        services: Its services.
        boot: The engine's last boot, or None.
        smoke: The last smoke run of that boot, or None.
        served_name: What clients write as `model`.
        states: The containers, by service.
        facts: This machine's small facts.
        lock: The lock.
    """

    project: str
    services: tuple[ServiceStatus, ...]
    boot: BootRecord | None
    smoke: SmokeRecord | None
    served_name: str | None
    states: Mapping[str, ServiceState]
    facts: ProjectFacts
    lock: Lock

    @property
    def is_serving(self) -> bool:
        """Tell whether the engine runs."""
        return any(service.name == "engine" and service.state == "running" for service in self.services)

    @property
    def ports(self) -> dict[str, int]:
        """Give the host's port of each published service: its container's, else the remembered one."""
        told = {name: state.host_port for name, state in self.states.items() if state.host_port is not None}
        return dict(self.facts.ports) | told


def read_status(session: Session) -> Status:
    """Read what runs now."""
    client = check_tools(session)
    states = read_services(client, session.project)
    facts = load_facts(session.paths.facts)
    boot = smoke = None
    if session.paths.history.is_file():
        history = open_history(session.paths.history)
        boot = history.load_boot(facts.last_boot) if facts.last_boot is not None else None
        smoke = history.last_smoke(boot.id) if boot is not None else None
    return Status(
        project=session.project,
        services=tuple(_build_service(session, client, states[name], facts) for name in SERVICES if name in states),
        boot=boot,
        smoke=smoke,
        served_name=read_served_name(boot),
        states=states,
        facts=facts,
        lock=load_project_lock(session),
    )


def read_served_name(boot: BootRecord | None) -> str | None:
    """Give the served model name that the engine of a boot was started with."""
    argv = list(boot.start.args.get("argv", [])) if boot is not None else []
    flag = "--served-model-name"
    return str(argv[argv.index(flag) + 1]) if flag in argv else None


def build_document(status: Status, secrets: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Give the JSON document of `status`; secrets only where they were asked for."""
    boot = status.boot
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "project": status.project,
        "services": [vars(service) for service in status.services],
        "engine": None
        if boot is None
        else {
            "commit": boot.start.commit,
            "commit_level": boot.start.commit_level,
            "version": boot.start.version,
            "model": boot.start.model,
            "revision": boot.start.revision,
            "served_name": status.served_name,
            "device": boot.start.device,
            "image_id": boot.start.image_id,
            "image_digest": boot.start.image_digest,
        },
        "boot": None
        if boot is None
        else {
            "id": boot.id,
            "started_at": boot.start.started_at.isoformat(),
            "outcome": boot.outcome,
            "total_seconds": boot.total_seconds,
            "cache_state": boot.cache_state,
            "phases": dict(boot.phases),
            "log_path": boot.start.log_path,
        },
        "smoke": None
        if status.smoke is None
        else {"passed": status.smoke.passed, "started_at": status.smoke.started_at.isoformat()},
    }
    if secrets is not None:
        document["secrets"] = dict(secrets)
    return document


def read_secrets(session: Session) -> dict[str, str]:
    """Give the generated secrets by name; what is shown only when it was asked for."""
    found = {}
    for name in (API_KEY, GRAFANA_PASSWORD):
        path = session.paths.secrets / name
        if path.is_file():
            found[name] = path.read_text().strip()
    return found


def _build_service(
    session: Session, client: docker.DockerClient, state: ServiceState, facts: ProjectFacts
) -> ServiceStatus:
    image = read_image(client, state.image_id) or {}
    return ServiceStatus(
        name=state.name,
        state=state.state,
        health=state.health,
        url=_build_url(session, state, facts),
        image=state.image,
        digest=find_digest(state.image, image.get("RepoDigests") or []),
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


def find_digest(image: str, repo_digests: Sequence[str]) -> str | None:
    """Give the digest that an image was started with, else one that it was pulled by."""
    named = image.partition("@")[2]
    digests = [item.partition("@")[2] for item in repo_digests]
    return named or next(iter(digests), None)
