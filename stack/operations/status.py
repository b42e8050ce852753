"""What runs now: services, URLs, the engine's identity, the model, the last boot and smoke."""

from __future__ import annotations

from collections.abc import Mapping
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
        state: The container's state, or `absent`.
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
        services=tuple(
            _build_service(client, name, states.get(name), facts) for name in SERVICES if name in states
        ),
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
    client: docker.DockerClient, name: str, state: ServiceState | None, facts: ProjectFacts
) -> ServiceStatus:
    if state is None:
        return ServiceStatus(name, "absent", None, None, None, None)
    port = facts.ports.get(name) if name in _PUBLISHED else None
    url = f"http://127.0.0.1:{port}" if port is not None else None
    image = read_image(client, state.image_id) or {}
    digests = image.get("RepoDigests") or []
    digest = digests[0].partition("@")[2] if digests else None
    return ServiceStatus(name, state.state, state.health, url, state.image, digest)
